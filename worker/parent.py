"""The parent: one device, one child at a time. Small, imports no torch, and so outlives what kills a child.

It renews the lease while the child's beat moves, kills a child that stalls, takes back its renders the
moment it is dead, and starts the next; after a rest, when the device failed one render after the other. The next one
has the models that the last one was assigned.
"""

from __future__ import annotations

import contextlib
import os
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path
from typing import TYPE_CHECKING

from sqlalchemy.exc import SQLAlchemyError

from latentfarm.logs import get_logger
from latentfarm.repository.holding import enlist
from latentfarm.repository.resting import rest
from latentfarm.states import Stage
from worker.exits import REASSIGNED
from worker.footprint import resident_bytes
from worker.heartbeat import Heartbeat, Stall
from worker.standby import Standby
from worker.xid import Verdict
from worker.xid_watch import XidWatch

if TYPE_CHECKING:
    from collections.abc import Sequence

    from latentfarm.registry import ModelEntry
    from latentfarm.repository.facade import Repository
    from latentfarm.settings import Settings

TICK_S = 0.1
RESTART_S = (0.2, 1.0, 2.0, 5.0, 10.0)
"""Seconds before the n-th child in a row that died early."""
GIB = 1 << 30
HEALTHY_S = 60.0
"""A child that lived so long starts the count anew."""
CHANGED = "reassigned"
"""Why a child has ended that was to hold other models."""


class Parent:
    """One device and the children that use it, one after the other."""

    def __init__(
        self,
        repository: Repository,
        settings: Settings,
        *,
        device: str,
        stages: Sequence[Stage],
        models: Sequence[ModelEntry],
    ) -> None:
        self._repository = repository
        self._settings = settings
        self._device = device
        self._stages = tuple(stages)
        # The queue of shards is of no model; SQL compares the names.
        self._models = [entry.name for entry in models] or [""]
        self._models_held = 0 if Stage.SEAL in self._stages else settings.models_held
        self._last: int | None = None
        self._stopping = threading.Event()
        self._condemned = False
        self.xids = XidWatch(device)
        self._standby = Standby(repository, socket.gethostname(), device, every_s=settings.renew_s)

    def stop(self) -> None:
        """Asks the child to drain, and `run` to return. Safe in a signal handler."""
        self._stopping.set()

    def run(self) -> None:
        """Starts children until stopped, or until the device needs a reset: then it waits to be stopped."""
        self.xids.start()
        early = 0
        while not self._stopping.is_set():
            # What the last child's end has caused is not the next one's fault.
            self._look_at_device()
            if self._condemned:
                # Were the process to end, whoever started it would start it again, on the same device.
                get_logger().error("device_condemned", device=self._device)
                self._stopping.wait()
                return
            self._standby.rest(self._stopping)
            if self._stopping.is_set():
                return
            started = time.monotonic()
            rest_s, reason = 0.0, ""
            try:
                rest_s, reason = self._live()
            except SQLAlchemyError as error:
                get_logger().warning("database_away", error=str(error).splitlines()[0])
            except OSError as error:
                # Too many files or processes, or a full disk: that may pass, and so the parent stays.
                get_logger().warning("child_not_started", error=str(error))
            early = 0 if reason == CHANGED or time.monotonic() - started > HEALTHY_S else early + 1
            self._stopping.wait(max(rest_s, RESTART_S[min(early, len(RESTART_S)) - 1] if early else 0.0))

    def _live(self) -> tuple[float, str]:
        """One incarnation, from its registration to the return of its renders.

        Returns:
            Seconds for which the device must rest before the next, and why this one has ended.
        """
        worker, models = self._enlist()
        with tempfile.TemporaryDirectory(prefix="latentfarm-") as folder:
            path = Path(folder) / "heartbeat"
            with Heartbeat(path, create=True) as heartbeat:
                heartbeat.write(0, self._settings.load_s)
                child = self._spawn(worker, models, path)
                get_logger().info("child_started", worker=worker, child=child.pid, device=self._device)
                reason = self._watch(child, worker, heartbeat)
        self._bury(child, worker, reason)
        first_s = self._settings.quarantine_s
        rest_s = self._repository.transact(lambda c: rest(c, worker, first_s=first_s))
        if rest_s:
            get_logger().warning("device_quarantined", worker=worker, device=self._device, rest_s=rest_s)
        return rest_s, reason

    def _enlist(self) -> tuple[int, tuple[str, ...]]:
        worker, models = self._repository.transact(
            lambda connection: enlist(
                connection,
                host=socket.gethostname(),
                pid=os.getpid(),
                device=self._device,
                stages=self._stages,
                models=self._models,
                models_held=self._models_held,
                lease_s=self._settings.lease_s,
                before=self._last,
            )
        )
        self._last = worker
        return worker, models

    def _spawn(self, worker: int, models: Sequence[str], heartbeat: Path) -> subprocess.Popen[bytes]:
        stages = ",".join(stage.label for stage in self._stages)
        command = [sys.executable, "-m", "worker.child", "--worker", str(worker), "--device", self._device]
        command += ["--stages", stages, "--models", ",".join(models)]
        command += ["--heartbeat", str(heartbeat), "--parent", str(os.getpid())]
        # A session of its own: Ctrl-C in a terminal reaches the parent alone, which then drains the child.
        # Nothing is ever downloaded inside a job; the hub's client reads this when it is imported.
        environment = {**os.environ, "HF_HUB_OFFLINE": "1", "DIFFUSERS_VERBOSITY": "error"}
        return subprocess.Popen(command, env=environment, start_new_session=True)

    def _watch(self, child: subprocess.Popen[bytes], worker: int, heartbeat: Heartbeat) -> str:
        """Returns why the child is to be, or is, dead."""
        stall = Stall(time.monotonic())
        renew_at = time.monotonic() + self._settings.renew_s
        while child.poll() is None:
            now = time.monotonic()
            if self._stopping.is_set() or self._standby.drained:
                return self._drain(child, worker)
            beat, limit_s = heartbeat.read()
            if stall.is_stalled(beat, limit_s, now):
                return "stalled"
            if xid := self._look_at_device():
                return self._drain(child, worker, f"xid {xid}") if self._condemned else f"xid {xid}"
            if now >= renew_at:
                renew_at = now + self._settings.renew_s
                self._standby.look()
                if not self._renew(worker):
                    return "lease lost"
                # Not while it loads: the next one would need as much.
                if beat and self._is_too_large(child.pid):
                    return self._drain(child, worker, "recycled")
            time.sleep(TICK_S)
        return CHANGED if child.returncode == REASSIGNED else f"exited with {child.returncode}"

    def _look_at_device(self) -> int | None:
        """The Xid for which the child must go; notes when the device itself is not to be used any more."""
        told = self.xids.worst()
        if told is None:
            return None
        self._condemned = self._condemned or told[0] is Verdict.DRAIN
        return told[1]

    def _is_too_large(self, pid: int) -> bool:
        """Whether memory has grown beyond the limit: leaks of libraries end with the child."""
        limit = self._settings.child_rss_gib * GIB
        size = resident_bytes(pid) if limit else None
        if size is None or size <= limit:
            return False
        get_logger().warning("child_too_large", child=pid, rss_gib=round(size / GIB, 2))
        return True

    def _renew(self, worker: int) -> bool:
        """False when the incarnation was ended by the scheduler. A database that is away is waited for."""
        try:
            return self._repository.renew(worker, lease_s=self._settings.lease_s)
        except SQLAlchemyError as error:
            get_logger().warning("renew_failed", worker=worker, error=str(error).splitlines()[0])
            return True

    def _drain(self, child: subprocess.Popen[bytes], worker: int, reason: str = "drained") -> str:
        child.send_signal(signal.SIGTERM)
        until = time.monotonic() + self._settings.drain_s
        renew_at = 0.0
        while child.poll() is None and time.monotonic() < until:
            if time.monotonic() >= renew_at:
                renew_at = time.monotonic() + self._settings.renew_s
                self._renew(worker)
            time.sleep(TICK_S)
        return reason if child.poll() in (0, REASSIGNED) else "did not drain"

    def _bury(self, child: subprocess.Popen[bytes], worker: int, reason: str) -> None:
        """Makes sure that the child is dead, then gives its renders back. Never the other way round."""
        with contextlib.suppress(ProcessLookupError):
            child.kill()
        child.wait()
        # The lease ends by itself should the database be away now: the scheduler then does this.
        renders = self._repository.end_worker(worker, reason)
        get_logger().info("child_ended", worker=worker, reason=reason, taken_back=len(renders))
