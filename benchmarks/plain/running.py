"""Starts a worker of plain Celery, and counts what is left for it to do."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from benchmarks.plain.handing_in import QUEUE

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence

    from redis import Redis

ROOT = Path(__file__).resolve().parents[2]
POLL_S = 0.01
LIMIT_S = 600.0
QUIET = ("--without-gossip", "--without-mingle", "--without-heartbeat")


def broker_url(farms: str) -> str:
    """The broker of plain Celery: the farm's own server, and another database of it."""
    return farms.rpartition("/")[0] + "/1"


@contextmanager
def worker(environment: Mapping[str, str], options: Sequence[str]) -> Iterator[int]:
    """`celery worker` for the plain tasks; gives its process id.

    Args:
        environment: what the tasks read, over that of this process.
        options: of the command, such as its pool.
    """
    command = [sys.executable, "-m", "celery", "-A", "benchmarks.plain.tasks:app", "--quiet", "worker"]
    # A group of its own: the children of a pool go with it.
    started = subprocess.Popen(
        [*command, "--loglevel", "ERROR", *QUIET, *options],
        cwd=ROOT,
        env={**os.environ, "PYTHONWARNINGS": "ignore", **environment},
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        start_new_session=True,
    )
    try:
        yield started.pid
    finally:
        started.terminate()
        try:
            started.wait(20)
        except subprocess.TimeoutExpired:
            os.killpg(started.pid, signal.SIGKILL)
            started.wait()


def left(redis: Redis) -> int:
    """Tasks that wait or are not acknowledged."""
    with redis.pipeline() as pipeline:
        pipeline.llen(QUEUE)
        pipeline.hlen("unacked")
        return sum(int(count) for count in pipeline.execute())


def wait_until(true: Callable[[], bool]) -> None:
    """Asks every 10 ms.

    Raises:
        TimeoutError: after 10 minutes.
    """
    until = time.monotonic() + LIMIT_S
    while not true():
        if time.monotonic() > until:
            raise TimeoutError(f"not so within {LIMIT_S:g} s")
        time.sleep(POLL_S)
