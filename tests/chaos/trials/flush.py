"""FLUSHALL under a long backlog: how long until Redis holds the window again."""

from __future__ import annotations

import base64
import json
import time
from random import Random
from typing import TYPE_CHECKING

from latentfarm.dispatch import WINDOW_CHUNKS
from latentfarm.messages import CHUNK
from tests.chaos import fault_services
from tests.chaos.place import until
from tests.chaos.run import say
from tests.chaos.trials.backlog import IMAGES, Backlog

if TYPE_CHECKING:
    from tests.chaos.world import World

_OUT = "SELECT id, fence FROM renders WHERE state = 1"
_QUEUES = "SELECT name FROM queues"
WAITING = 10_000
FULL_S = 60.0
PAUSE_S = 2.0
"""Between a full window and the next FLUSHALL: longer than a sweep, so that each finds a farm at rest."""
LOOK_S = 0.05
SHARE = 0.75
"""Of the window is full: all of it is sent again, and workers take from it at once."""


class Flush:
    """Empties Redis several times under one backlog.

    Attributes:
        took_s: per FLUSHALL, until Redis held as much of the window as before, and `SHARE` of it at least.
        waiting: per FLUSHALL, how many renders waited.
        window: per FLUSHALL, how many renders SQL said were dispatched, and how many Redis held.
    """

    def __init__(self, world: World, seed: int) -> None:
        self.took_s: list[float] = []
        self.waiting: list[int] = []
        self.window: list[tuple[int, int]] = []
        self._world = world
        self._seed = seed
        self._full = world.profile.workers * WINDOW_CHUNKS * CHUNK

    def run(self, times: int) -> None:
        """Fills the farm, empties Redis `times` times, takes the jobs back."""
        # One job more than must wait: workers claim some meanwhile.
        with Backlog(self._world, self._seed, WAITING // IMAGES + 1) as backlog:
            backlog.wait(WAITING)
            for number in range(times):
                until("the window is full in SQL", lambda: len(self._out()) >= self._full, FULL_S)
                until("Redis has some of it", self._held, FULL_S)
                time.sleep(PAUSE_S)
                self.waiting.append(backlog.waiting())
                self._once(number)

    def _once(self, number: int) -> None:
        before = len(self._held())
        enough = max(before, SHARE * self._full)
        self.window.append((len(self._out()), before))
        began = 0.0

        def note(**fields: object) -> None:
            nonlocal began
            began = time.monotonic()
            self._world.truth.write("fault", number=-1 - number, fault="flush_of_many", **fields)

        fault_services.redis_flush(self._world, Random(0), note)
        gone = len(self._held())
        try:
            until("the window is full again", lambda: len(self._held()) >= enough, FULL_S, LOOK_S)
        except TimeoutError as error:
            say(str(error))
        self.took_s.append(round(time.monotonic() - began, 2))
        say(
            f"FLUSHALL: {before} of {self.window[-1][0]} in Redis, then {gone}, full {self.took_s[-1]} s later"
        )

    def _out(self) -> set[tuple[int, int]]:
        return {(row["id"], row["fence"]) for row in self._world.rows(_OUT)}

    def _held(self) -> set[tuple[int, int]]:
        """Dispatched renders of which Redis has a message that would be good for a claim."""
        with self._world.redis() as client:
            items = [item for row in self._world.rows(_QUEUES) for item in client.lrange(row["name"], 0, -1)]
        return {pair for item in items for pair in _pairs(item)} & self._out()


def _pairs(item: bytes) -> list[tuple[int, int]]:
    """(render id, fence) of a message, out of what Kombu wraps it in."""
    arguments, *_ = json.loads(base64.b64decode(json.loads(item)["body"]))
    return [(render, fence) for render, fence in arguments[0]["renders"]]
