"""Real processes of a farm, to be started, killed and looked at by acceptance tests."""

from __future__ import annotations

import contextlib
import os
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, Self

import psutil
from sqlalchemy import text

from latentfarm.broker import Broker
from latentfarm.database import connect
from latentfarm.dispatch import dispatch
from latentfarm.embedded.farm import for_workers
from latentfarm.ids import new_id
from latentfarm.registry import load_registry
from latentfarm.repository.facade import Repository
from latentfarm.spec import RenderSpec
from latentfarm.validation import complete
from tests.canaries import CANARY, PROMPT, hits, secrets
from tests.own_farm import own_environment

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from uuid import UUID

    from latentfarm.embedded.stack import Stack

ROOT = Path(__file__).resolve().parents[2]


def free_port() -> int:
    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        return int(found.getsockname()[1])


def until(
    what: str, condition: Callable[[], object], timeout_s: float = 60.0, every_s: float = 0.05
) -> float:
    """Waits for a condition; returns the seconds that it took."""
    started = time.monotonic()
    while not condition():
        if time.monotonic() - started > timeout_s:
            raise AssertionError(f"not within {timeout_s} s: {what}")
        time.sleep(every_s)
    return time.monotonic() - started


class Farm:
    """API, schedulers and workers of one test, on the services of the stack."""

    def __init__(self, environment: dict[str, str], repository: Repository, folder: Path) -> None:
        self.repository = repository
        self.folder = folder
        self.port = free_port()
        self.environment = {
            **os.environ,
            "OMP_NUM_THREADS": "1",
            **environment,
            "LATENTFARM_API_PORT": str(self.port),
            "LATENTFARM_ENGINE": "tests.synthetic:load",
            "LATENTFARM_MODELS": "tiny",
        }
        self.url = f"http://127.0.0.1:{self.port}"
        self.processes: list[subprocess.Popen[bytes]] = []

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_exception: object) -> None:
        everything = [child for process in self.processes for child in family(process.pid)]
        for process in self.processes:
            with contextlib.suppress(ProcessLookupError):
                process.send_signal(signal.SIGCONT)
                process.kill()
        for process in self.processes:
            process.wait()
        alive = psutil.wait_procs(everything, timeout=10)[1]
        for left in alive:
            left.kill()
        for log in sorted(self.folder.glob("*.log")):
            # Shown by pytest when the test failed.
            sys.stdout.write(f"--- {log.name}\n{log.read_text()[-4000:]}\n")
        assert not alive, f"left behind: {alive}"
        told = hits(self.folder.glob("*.log"), [CANARY, PROMPT, *secrets(self.environment)])
        assert not told, f"logs tell what they must not: {told}"

    def start(self, *command: str, **variables: str) -> subprocess.Popen[bytes]:
        """`python -m ...` with this farm's environment; its output goes to a file of its own."""
        return self._start(command, {**self.environment, **variables})

    def _start(self, command: tuple[str, ...], environment: dict[str, str]) -> subprocess.Popen[bytes]:
        log = (self.folder / f"{len(self.processes)}-{command[0]}.log").open("wb")
        process = subprocess.Popen(
            [sys.executable, "-m", *command],
            cwd=ROOT,
            env=environment,
            stdout=log,
            stderr=subprocess.STDOUT,
        )
        log.close()
        self.processes.append(process)
        return process

    def scheduler(self, **variables: str) -> subprocess.Popen[bytes]:
        return self.start("scheduler", **variables)

    def worker(
        self, stages: str = "base,refine", *, device: str = "cpu", **variables: str
    ) -> subprocess.Popen[bytes]:
        own = {**for_workers(self.environment), **variables}
        return self._start(("worker", "--stages", stages, "--devices", device), own)

    def api(self, **variables: str) -> subprocess.Popen[bytes]:
        import httpx

        process = self.start("api", **variables)

        def answers() -> bool:
            with contextlib.suppress(httpx.HTTPError):
                return httpx.get(f"{self.url}/healthz", timeout=1).status_code == 200
            return False

        until("the API answers", answers)
        return process

    def wait_ready(self, workers: int, timeout_s: float = 60.0) -> None:
        """Until so many incarnations are ready."""
        until(
            "workers are ready",
            lambda: self.count("SELECT count(*) FROM workers WHERE ready AND ended_at IS NULL") >= workers,
            timeout_s,
        )

    def submit(self, n: int = 1, *, send: bool = True, **fields: object) -> UUID:
        """Stores a job as the API does."""
        values = {"prompt": PROMPT, "width": 64, "height": 64, "num_inference_steps": 4, **fields}
        spec = RenderSpec(num_images=n, seed=1, **values)
        spec = complete(spec, load_registry(ROOT / "models" / "models.toml").get("tiny"))
        job_id = new_id()
        queue_id, _ = self.repository.add_job(job_id, spec, tenant="")
        if send:
            broker = Broker(self.environment["LATENTFARM_REDIS_URL"])
            for queue in self.repository.queues():
                if queue.id == queue_id:
                    dispatch(self.repository, broker, queue)
            broker.close()
        return job_id

    def count(self, sql: str, **values: object) -> int:
        """One number out of SQL."""
        found = self.repository.transact(lambda c: c.execute(text(sql), values).scalar_one())
        return int(found or 0)

    def wait_done(self, timeout_s: float = 60.0) -> float:
        """Until every job has ended."""
        return until(
            "all jobs have ended",
            lambda: self.count("SELECT count(*) FROM jobs WHERE finished_at IS NULL") == 0,
            timeout_s,
        )

    def assert_sound(self, renders: int) -> None:
        """Every render succeeded, once: one visible image, one event per job, nothing left over."""
        assert self.count("SELECT count(*) FROM renders WHERE state = 3") == renders
        assert self.count("SELECT count(*) FROM jobs WHERE state = 'succeeded'") == self.count(
            "SELECT count(*) FROM jobs"
        )
        images = "SELECT count(*) FROM objects WHERE kind = 'image' AND state = 'visible'"
        assert self.count(images) == renders
        once = (
            "SELECT count(*) FROM (SELECT 1 FROM outbox WHERE type = 'job.succeeded' GROUP BY job_id) AS once"
        )
        events = "SELECT count(*) FROM outbox WHERE type = 'job.succeeded'"
        assert self.count(events) == self.count(once) == self.count("SELECT count(*) FROM jobs")
        assert self.count("SELECT coalesce(sum(queued + remaining), 0) FROM jobs") == 0


@contextlib.contextmanager
def standing(stack: Stack, template: str, folder: Path) -> Iterator[Farm]:
    """A farm for several tests, with a database of its own; a test that has one too takes Redis away from it."""
    with own_environment(stack, template) as environment:
        engine = connect(environment["LATENTFARM_DATABASE_URL"], pool=4, application="tests")
        try:
            with Farm(environment, Repository(engine), folder) as farm:
                yield farm
        finally:
            engine.dispose()


def family(pid: int) -> list[psutil.Process]:
    """A process and all that it started."""
    try:
        process = psutil.Process(pid)
        return [process, *process.children(recursive=True)]
    except psutil.NoSuchProcess:
        return []


def child_of(process: subprocess.Popen[bytes]) -> int:
    """The pid of a worker's one child."""
    children = [
        child for child in psutil.Process(process.pid).children() if "worker.child" in child.cmdline()
    ]
    return int(children[0].pid)
