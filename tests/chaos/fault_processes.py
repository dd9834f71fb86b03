"""Faults of processes: killed, frozen, told to go, with a wrong clock."""

from __future__ import annotations

import contextlib
import os
import signal
import time
from typing import TYPE_CHECKING, Any

import psutil

from tests.chaos.world import until

if TYPE_CHECKING:
    from collections.abc import Callable
    from random import Random

    from tests.chaos.world import World

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


def child_kill(world: World, rng: Random, note: Note) -> None:
    """The child alone, as the kernel's memory killer does."""
    with world.roster.take(rng) as target:
        signal_all(signal.SIGKILL, target.child)
        note(worker=target.name, incarnation=target.incarnation, held=target.held)


def node_kill(world: World, rng: Random, note: Note) -> None:
    """Parent and child at once: nobody is left to give the renders back."""
    with world.roster.take(rng) as target:
        signal_all(signal.SIGKILL, target.parent, target.child)
        note(worker=target.name, incarnation=target.incarnation, held=target.held)


def freeze(world: World, rng: Random, note: Note) -> None:
    """Both stop for two leases, and wake as if nothing had been."""
    with world.roster.take(rng) as target:
        signal_all(signal.SIGSTOP, target.child, target.parent)
        note(worker=target.name, incarnation=target.incarnation, held=target.held)
        time.sleep(LEASES * LEASE_S)
        signal_all(signal.SIGCONT, target.child)
        time.sleep(rng.uniform(0, WAKE_S))
        signal_all(signal.SIGCONT, target.parent)
        _ended(world, target.incarnation)


def hang(world: World, rng: Random, note: Note) -> None:
    """The child stops for ever, as in a kernel that never returns; its parent has to notice."""
    with world.roster.take(rng) as target:
        signal_all(signal.SIGSTOP, target.child)
        note(worker=target.name, incarnation=target.incarnation, held=target.held)
        _ended(world, target.incarnation)


def terminate(world: World, rng: Random, note: Note) -> None:
    """SIGTERM, and kill -9 should it take longer than the notice that a spot instance gets."""
    with world.roster.take(rng) as target:
        signal_all(signal.SIGTERM, target.parent)
        note(worker=target.name, incarnation=target.incarnation, held=target.held)
        _gone(target.parent, target.child)


def clock(world: World, rng: Random, note: Note) -> None:
    """A worker comes back with a clock that is an hour wrong, and keeps it until it starts again."""
    with world.roster.take(rng) as target:
        environment: dict[str, Any] = world.environments[target.name]
        environment["CHAOS_CLOCK_S"] = rng.choice(["3600", "-3600"])
        signal_all(signal.SIGKILL, target.parent, target.child)
        note(worker=target.name, incarnation=target.incarnation, seconds=environment["CHAOS_CLOCK_S"])
        with contextlib.suppress(TimeoutError):
            until("it is back", lambda: target.name in {found.name for found in world.roster.ready()}, 40)
        environment.pop("CHAOS_CLOCK_S")


def api_kill(world: World, rng: Random, note: Note) -> None:
    """The API, in the middle of whatever it is answering."""
    time.sleep(rng.uniform(0, 0.3))
    world.keeper("api").send(signal.SIGKILL)
    note(member="api")


def scheduler_kill(world: World, rng: Random, note: Note) -> None:
    """One of the schedulers."""
    name = f"scheduler{rng.randrange(world.profile.schedulers)}"
    world.keeper(name).send(signal.SIGKILL)
    note(member=name)


def _gone(parent: int, child: int) -> None:
    with contextlib.suppress(psutil.NoSuchProcess):
        try:
            psutil.Process(parent).wait(GRACE_S)
        except psutil.TimeoutExpired:
            signal_all(signal.SIGKILL, parent, child)


def _ended(world: World, incarnation: int) -> None:
    """Holds the worker until its life is over, so that faults do not meet on one worker."""
    sql = "SELECT 1 FROM workers WHERE id = %s AND ended_at IS NOT NULL"
    # One that lives on is told of by the recovery times and by what it still holds.
    with contextlib.suppress(TimeoutError):
        until("the incarnation has ended", lambda: world.rows(sql, incarnation), 60)
