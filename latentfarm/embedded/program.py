"""What the supervisor is told about a program, and what it tells about it."""

import signal
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from pathlib import Path


class State(StrEnum):
    """Where a program is in its life."""

    WAITING = "waiting"  # for the programs in `after`
    STARTING = "starting"  # prepared or running, its probe has not said yes yet
    READY = "ready"
    PAUSING = "pausing"  # it died; the back-off runs before the next start
    HELD = "held"  # stopped by hand, stays down until `start`
    STOPPING = "stopping"
    STOPPED = "stopped"
    DONE = "done"  # a program with `once` ended well
    FAILED = "failed"  # a program with `once` ended badly, or another gave up


@dataclass(frozen=True, slots=True)
class Backoff:
    """Seconds between a death and the next start: they double, and begin anew after a calm life."""

    first: float = 0.1
    longest: float = 5.0
    calm: float = 10.0

    def delay(self, deaths: int) -> float:
        """Seconds to wait after `deaths` (1 or more) short lives in a row."""
        return min(self.longest, self.first * 2.0 ** min(deaths - 1, 30))


# Everything waits for a service, and an attempt to start one costs little.
SERVICE_BACKOFF = Backoff(longest=1.0)


@dataclass(frozen=True, slots=True)
class Identity:
    """Who a program runs as, when not as the supervisor's own user."""

    uid: int
    gid: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Program:
    """A program to keep running.

    `argv[0]` is an absolute path or found on the `PATH` in `env`, which is the whole environment.
    `prepare` runs before each start and `ready` until it returns true, both in the program's own
    thread; `ready` may raise OSError or its library's errors, which mean "not yet". Without `ready` a
    running process counts as ready. With `once` the program is a step: ready when it ends with 0.
    """

    name: str
    argv: tuple[str, ...]
    log: Path
    env: Mapping[str, str] = field(default_factory=dict)
    cwd: Path | None = None
    identity: Identity | None = None
    after: tuple[str, ...] = ()
    once: bool = False
    prepare: Callable[[], None] | None = None
    ready: Callable[[], bool] | None = None
    start_timeout: float = 60.0
    # A first start that dies this often is given up; after one success it is tried for ever.
    start_attempts: int = 5
    stop_signal: signal.Signals = signal.SIGTERM
    stop_grace: float = 10.0
    # What the kernel sends when the supervisor is gone, even by kill -9.
    death_signal: signal.Signals = signal.SIGKILL
    backoff: Backoff = Backoff()


@dataclass(frozen=True, slots=True)
class Status:
    """One line of a live view.

    `since` is when the state began, in seconds since the epoch; `exit_code` is of the last life (minus
    the signal's number when one ended it), `error` why the program is not ready.
    """

    name: str
    state: State
    pid: int | None
    restarts: int
    since: float
    exit_code: int | None
    error: str | None
