"""Faults one at a time: the next comes when nothing is left of the one before."""

from __future__ import annotations

from collections import Counter
from random import Random
from typing import TYPE_CHECKING

from tests.chaos.faults import Fault
from tests.chaos.place import until
from tests.chaos.roster import Skipped
from tests.chaos.run import say

if TYPE_CHECKING:
    from collections.abc import Sequence

    from tests.chaos.world import World

_LAST = "SELECT max(id) AS id FROM renders"
_LEFT = "SELECT 1 FROM renders WHERE id <= %s AND state < 3 LIMIT 1"
_AT_WORK = """
    SELECT count(DISTINCT w.id) AS n FROM attempts a JOIN workers w ON w.id = a.worker_id
    WHERE a.render_id > %s AND w.ended_at IS NULL AND w.ready AND w.lease_until > now()
"""
SETTLE_S = 150.0
AGAIN = 3
"""So often a fault that found nothing to hit is drawn anew."""


class Solo:
    """Injects faults into one farm, and waits after each until it is as it was.

    Attributes:
        injected: per kind, how many did harm.
        unsettled: after which the farm did not come back in time.
    """

    def __init__(self, world: World, seed: int, kinds: Sequence[str], times: int) -> None:
        self.injected: Counter[str] = Counter()
        self.unsettled: list[str] = []
        self._world = world
        self._seed = seed
        self._last = 0
        self._kinds = [kind for kind in kinds for _ in range(times)]
        # Mixed, so that a farm that grows slower with time does not look as if one kind were to blame.
        Random(f"{seed}/solo").shuffle(self._kinds)

    def run(self) -> None:
        """All of them, one after the other."""
        self._settle("the start")
        for place, kind in enumerate(self._kinds):
            for again in range(AGAIN):
                number = AGAIN * place + again
                if self._hits(Fault(number, kind, 0.0, f"{self._seed}/solo/{number}")):
                    self.injected[kind] += 1
                    break
            self._settle(kind)
            self._world.truth.write("fault_over", number=number, fault=kind)
            say(f"{place + 1} of {len(self._kinds)} is over: {kind}")

    def _hits(self, fault: Fault) -> bool:
        try:
            notes = fault.inject(self._world)
        except Skipped as error:
            say(f"{fault.kind} again: {error}")
            return False
        # A link that nobody has opened cannot be half open, and no message can come twice of no render.
        return bool(notes.get("connections", 1) and notes.get("renders", 1))

    def _settle(self, kind: str) -> None:
        """Until all renders that were there have ended, and each worker has claimed one that came later.

        Suspects run alone and are charged for a death: a second fault on one would be two faults at a time.
        """
        world = self._world
        try:
            # Each in a wait of its own: PostgreSQL may go on answering for a moment after it was killed.
            until("renders are there", self._look, SETTLE_S)
            until(
                f"settled after {kind}",
                lambda: (
                    not world.rows(_LEFT, self._last)
                    and world.rows(_AT_WORK, self._last)[0]["n"] == world.profile.workers
                    and len(world.roster.ready()) == world.profile.workers
                ),
                SETTLE_S,
            )
        except TimeoutError as error:
            say(str(error))
            self.unsettled.append(kind)

    def _look(self) -> bool:
        """Notes which render is the latest; False when there is none."""
        self._last = int(self._world.rows(_LAST)[0]["id"] or 0)
        return self._last > 0
