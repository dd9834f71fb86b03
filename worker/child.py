"""`python -m worker.child`: one incarnation. Started by its parent; wires the parts and runs until told to stop."""

from __future__ import annotations

import argparse
import dataclasses
import os
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import redis
from sqlalchemy.exc import SQLAlchemyError

from latentfarm.broker import SOCKET
from latentfarm.database import SOON_S, connect, is_away
from latentfarm.embedded.launch import die_with_parent
from latentfarm.logs import configure, get_logger
from latentfarm.progress import ProgressPublisher
from latentfarm.records import Release
from latentfarm.repository.facade import Repository
from latentfarm.settings import Settings
from latentfarm.states import Stage, parse_stages
from latentfarm.storage import S3Store
from worker.assembly import Assembled, factory
from worker.claimer import Claimer
from worker.committer import AWAY_S, Committer
from worker.consumer import Consumer
from worker.exits import BROKEN, REASSIGNED
from worker.heartbeat import Heartbeat
from worker.holdings import Holdings
from worker.inbox import Inbox, capacity_for
from worker.intake import Intake
from worker.options import models_of
from worker.outflow import Outflow
from worker.pacer import Pacer
from worker.pulse import Pulse
from worker.recent import Recent
from worker.saver import Saver
from worker.watch import Watch

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from latentfarm.messages import Pair
    from latentfarm.records import Saved
    from latentfarm.registry import ModelEntry
    from latentfarm.storage import ObjectStore
    from worker.engine.order import Errand

SAVE_SHARE = 0.5
"""Part of the time to drain that half-done renders may take to be saved; the rest is for what is finished."""
COMMIT_S = 10.0
"""Seconds that the last commits may take while the child drains."""


class Child:
    """The parts of one incarnation, and the order in which they start and stop."""

    def __init__(
        self,
        settings: Settings,
        worker: int,
        device: str,
        stages: Sequence[Stage],
        models: Sequence[ModelEntry],
    ) -> None:
        self.worker = worker
        self._settings = settings
        database = connect(
            settings.database_url, pool=4, application=f"latentfarm worker {worker}", answer_s=SOON_S
        )
        self.repository = Repository(database)
        self.holdings = Holdings()
        self.committer = Committer(self.repository)
        self.progress = ProgressPublisher(redis.Redis.from_url(settings.redis_url, **SOCKET))
        bucket = S3Store.from_settings(settings)
        store = Recent(bucket) if {Stage.BASE, Stage.REFINE}.issubset(stages) else bucket
        self.saver = Saver(self.holdings, self.committer, store)
        self.outflow = Outflow(self.holdings, self.committer, store, self.progress, self.saver, self._retire)
        self.inbox = Inbox(capacity_for(entry.bucket for entry in models), self.holdings.changed)
        self.assembled, self.intake = (
            self._seal(bucket) if Stage.SEAL in stages else self._render(store, device, stages, models)
        )
        self.engine = self.assembled.engine
        self.consumer = Consumer(settings.redis_url, f"worker{worker}", self.inbox, stages, models)
        self.pacer = Pacer(self.consumer, self.inbox, self.holdings)
        self.watch = Watch(
            self.repository,
            worker,
            self.holdings,
            self.committer,
            self.engine,
            database_url=settings.database_url,
            report=self.report,
            models=[entry.name for entry in models] or [""],
            retire=self._retire,
        )

    def _render(
        self, store: ObjectStore, device: str, stages: Sequence[Stage], models: Sequence[ModelEntry]
    ) -> tuple[Assembled, Intake]:
        """The engine that renders, with its models."""
        assembled = factory(self._settings.engine)(
            models,
            stages,
            device=device,
            threads=self._settings.torch_threads,
            checkpoint_s=self._settings.checkpoint_s,
            listener=self.outflow,
        )
        return assembled, Intake(*self._around(store, assembled))

    def _seal(self, store: S3Store) -> tuple[Assembled, Intake]:
        """The engine that packs shards; renderers need none of its libraries."""
        from worker.sealing.assembly import assemble
        from worker.sealing.intake import SealIntake

        engine, assembled = assemble(self.repository, store, self.outflow)
        return assembled, SealIntake(*self._around(store, assembled), engine=engine)

    def _around(
        self, store: ObjectStore, assembled: Assembled
    ) -> tuple[Inbox, Holdings, Claimer, Committer, ObjectStore, Assembled, Callable[[], None]]:
        claimer = Claimer(self.repository, self.worker)
        return self.inbox, self.holdings, claimer, self.committer, store, assembled, self._retire

    def _retire(self) -> None:
        """No more claims, and all that is held goes back: what is the machine's trouble, or a change of models, is nobody's fault."""
        self.consumer.stop()

    def report(self) -> dict[str, Any]:
        """Counters since the incarnation began, for metrics."""
        counters = dataclasses.asdict(self.engine.counters)
        return {**counters, "held": len(self.holdings), "stage_s": dict(self.outflow.stage_s)}

    def run(self, heartbeat: Heartbeat) -> int:
        """Serves until SIGTERM or until the device fails; returns the exit status."""
        pulse = Pulse(self.engine, heartbeat, least_s=self._settings.stall_s, broken=self.consumer.stop)
        self.engine.start()
        for part in (self.committer, self.progress, self.intake, self.watch, pulse, self.pacer):
            part.start()
        announce(self.repository, self.worker, {**self.assembled.info, "capacity": self.inbox.capacity})
        get_logger().info("worker_ready", worker=self.worker, **self.assembled.info)
        self.consumer.run()
        self._announce_drain(pulse, heartbeat)
        self._drain()
        if self.engine.broken is not None:
            return BROKEN
        return REASSIGNED if self.watch.is_reassigned else 0

    def _announce_drain(self, pulse: Pulse, heartbeat: Heartbeat) -> None:
        """Who drains unasked is watched by its beat, and an engine that has stopped has none."""
        pulse.stop()
        pulse.join()
        heartbeat.write(self.engine.counters.beat + 2, max(self._settings.drain_s, pulse.limit_s()))

    def _drain(self) -> None:
        """No more claims; what is finished is delivered; the rest goes back as it is, charged nothing."""
        until = time.monotonic() + SAVE_SHARE * self._settings.drain_s
        self.pacer.stop()
        self.intake.stop()
        unfinished = self.engine.stop()
        taken = self.outflow.odometer.taken
        saved = self.saver.drain(
            [(left.order, left.checkpoint, taken(left.order)) for left in unfinished if left.checkpoint],
            until,
        )
        orders = [left.order for left in unfinished]
        self.committer.give_back([_release(order, taken(order), saved) for order in orders])
        for order in orders:
            self.holdings.remove(order.render_id, order.fence)
        self.saver.close()
        self.outflow.close()
        self.committer.release(sorted(self.holdings.pairs()))
        self.committer.close(COMMIT_S)
        self.watch.stop()
        get_logger().info("worker_drained", worker=self.worker, given_back=len(orders), saved=len(saved))


def _release(order: Errand, steps: int, saved: Mapping[Pair, Saved]) -> Release:
    return Release(order.render_id, order.fence, steps, saved.get((order.render_id, order.fence)))


def announce(repository: Repository, worker: int, info: dict[str, Any]) -> None:
    """Says that the child is warm. Loading took minutes, perhaps: a database that is away is waited for."""
    while True:
        try:
            repository.mark_ready(worker, info)
        except SQLAlchemyError as error:
            if not is_away(error):
                raise
            get_logger().warning("database_away", error=str(error).splitlines()[0])
            time.sleep(AWAY_S)
        else:
            return


def main() -> int:
    """Loads, serves, drains."""
    parser = argparse.ArgumentParser(prog="python -m worker.child")
    parser.add_argument("--worker", type=int, required=True)
    parser.add_argument("--device", required=True)
    parser.add_argument("--stages", type=parse_stages, required=True)
    parser.add_argument("--models", required=True)
    parser.add_argument("--heartbeat", type=Path, required=True)
    parser.add_argument("--parent", type=int, required=True)
    given = parser.parse_args()
    if not die_with_parent(given.parent):
        raise SystemExit("the parent ended before its child had started")
    settings = Settings().for_worker()
    configure("worker", level=settings.log_level, as_json=settings.log_json)
    models = models_of(given.stages, settings, given.models)
    if settings.offload:
        models = [entry.with_offload(settings.offload) for entry in models]
    with Heartbeat(given.heartbeat) as heartbeat:
        return Child(settings, given.worker, given.device, given.stages, models).run(heartbeat)


if __name__ == "__main__":
    status = main()
    sys.stderr.flush()
    # Threads of libraries may still be inside the device's driver; waiting for them could take for ever.
    os._exit(status)
