"""Faults of processes: killed, frozen, told to go, with a wrong clock."""

from __future__ import annotations

import contextlib
import os
import signal
import time
from typing import TYPE_CHECKING, Any

import psutil

from tests.chaos.place import until

if TYPE_CHECKING:
    from collections.abc import Callable
    from random import Random

    from tests.chaos.place import Place

    Note = Callable[..., None]

GRACE_S = 20.0
"""What a spot instance gives between SIGTERM and the end."""
LEASES = 2
"""A frozen worker sleeps for so many leases."""
LEASE_S = 20.0
WAKE_S = 2.0
"""At most so much later than its child a parent wakes: a host wakes its processes in any order."""


def signal_all(number: int, *pids: int) -> None:
    """Signals processes; one that is gone is no error."""
    for pid in pids:
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, number)


def child_kill(place: Place, rng: Random, note: Note) -> None:
    """The child alone, as the kernel's memory killer does."""
    with place.roster.take(rng) as target:
        signal_all(signal.SIGKILL, target.child)
        note(worker=target.name, incarnation=target.incarnation, parent=target.parent, held=target.held)


def node_kill(place: Place, rng: Random, note: Note) -> None:
    """Parent and child at once: nobody is left to give the renders back."""
    with place.roster.take(rng) as target:
        signal_all(signal.SIGKILL, *target.everyone())
        note(worker=target.name, incarnation=target.incarnation, parent=target.parent, held=target.held)


def freeze(place: Place, rng: Random, note: Note) -> None:
    """Both stop for two leases, and wake as if nothing had been."""
    with place.roster.take(rng) as target:
        everyone = target.everyone()
        signal_all(signal.SIGSTOP, *everyone)
        note(worker=target.name, incarnation=target.incarnation, parent=target.parent, held=target.held)
        time.sleep(LEASES * LEASE_S)
        signal_all(signal.SIGCONT, *everyone[:-1])
        time.sleep(rng.uniform(0, WAKE_S))
        signal_all(signal.SIGCONT, everyone[-1])
        _ended(place, target.incarnation)


def hang(place: Place, rng: Random, note: Note) -> None:
    """The child stops for ever, as in a kernel that never returns; its parent has to notice."""
    with place.roster.take(rng) as target:
        signal_all(signal.SIGSTOP, target.child)
        note(worker=target.name, incarnation=target.incarnation, parent=target.parent, held=target.held)
        _ended(place, target.incarnation)


def terminate(place: Place, rng: Random, note: Note) -> None:
    """SIGTERM, and kill -9 should it take longer than the notice that a spot instance gets."""
    with place.roster.take(rng) as target:
        everyone = target.everyone()
        signal_all(signal.SIGTERM, target.parent)
        note(worker=target.name, incarnation=target.incarnation, parent=target.parent, held=target.held)
        _gone(everyone)


def clock(place: Place, rng: Random, note: Note) -> None:
    """A worker comes back with a clock that is an hour wrong, and keeps it until it starts again."""
    with place.roster.take(rng) as target:
        environment: dict[str, Any] = place.environments[target.name]
        environment["CHAOS_CLOCK_S"] = rng.choice(["3600", "-3600"])
        signal_all(signal.SIGKILL, *target.everyone())
        note(
            worker=target.name,
            incarnation=target.incarnation,
            parent=target.parent,
            seconds=environment["CHAOS_CLOCK_S"],
        )
        with contextlib.suppress(TimeoutError):
            until("it is back", lambda: target.name in {found.name for found in place.roster.ready()}, 40)
        environment.pop("CHAOS_CLOCK_S")


def api_kill(place: Place, rng: Random, note: Note) -> None:
    """The API, in the middle of whatever it is answering."""
    time.sleep(rng.uniform(0, 0.3))
    place.keeper("api").send(signal.SIGKILL)
    note(member="api")


def scheduler_kill(place: Place, rng: Random, note: Note) -> None:
    """One of the schedulers."""
    name = f"scheduler{rng.randrange(place.profile.schedulers)}"
    place.keeper(name).send(signal.SIGKILL)
    note(member=name)


def _gone(everyone: list[int]) -> None:
    with contextlib.suppress(psutil.NoSuchProcess):
        try:
            psutil.Process(everyone[-1]).wait(GRACE_S)
        except psutil.TimeoutExpired:
            signal_all(signal.SIGKILL, *everyone)


def _ended(place: Place, incarnation: int) -> None:
    """Holds the worker until its life is over, so that faults do not meet on one worker."""
    # One that lives on is told of by the recovery times and by what it still holds.
    with contextlib.suppress(TimeoutError):
        until("the incarnation has ended", lambda: place.has_ended(incarnation), 60)
