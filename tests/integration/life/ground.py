"""What a run of the machine stands on: the farm, its model, and what must hold at any time."""

from __future__ import annotations

from typing import TYPE_CHECKING

from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant

from latentfarm.ids import new_id
from latentfarm.lifecycle import Farm
from latentfarm.states import RenderState
from scheduler.duties import Duties
from tests.integration.life.model import Model
from tests.integration.life.mortal import Mortal
from tests.integration.life.outside import Bag, Crash, Fuse, Shelf
from tests.integration.life.rows import Rows

if TYPE_CHECKING:
    from collections.abc import Callable

    from sqlalchemy import Engine

    from latentfarm.records import Claimed
    from latentfarm.registry import Registry
    from latentfarm.settings import Settings

Death = tuple[int, str] | None
"""At which of its calls a process dies, and how; None: it lives through them."""


class Ground(RuleBasedStateMachine):
    """One farm without jobs."""

    engine: Engine
    registry: Registry
    settings: Settings

    @initialize()
    def begin(self) -> None:
        """A farm without jobs."""
        self.rows = Rows(self.engine)
        self.rows.clear()
        self.fuse, self.model = Fuse(), Model()
        self.bag, self.shelf = Bag(self.fuse), Shelf(self.fuse)
        self.records = Mortal(self.engine, self.fuse, self.model)
        self.farm = Farm(self.records, self.bag, self.registry, new_id)
        settings = self.settings.model_copy(update={"collect_after_s": 0.0})
        self.duties = Duties(self.records, self.bag, self.shelf, settings)  # type: ignore[arg-type]  # all that it needs
        self.hands: list[tuple[int, Claimed]] = []
        self.vanished: set[int] = set()

    def live(self, death: Death, work: Callable[[], object]) -> bool:
        """Runs a process to its end, or to its death; whether it lived."""
        if death is not None:
            self.fuse.light(*death)
        try:
            work()
        except Crash:
            return False
        finally:
            self.fuse.put_out()
        return True

    def rest_devices(self) -> None:
        """What a failure may have led to, in the same transaction."""
        for worker in self.rows.quarantined() & self.model.alive:
            self.model.quarantined(worker, self.rows.tries())
            self.vanished.discard(worker)

    # What must hold at any time

    @invariant()
    def rows_are_as_they_should_be(self) -> None:
        renders = sorted(self.model.renders.values(), key=lambda render: render.id)
        assert self.rows.renders() == [render.row() for render in renders]
        jobs = sorted(self.model.jobs.values(), key=lambda job: job.id)
        assert self.rows.jobs() == [job.row() for job in jobs]
        running = {(r.id, r.fence) for r in renders if r.state is RenderState.RUNNING}
        assert self.rows.open_attempts() == running

    @invariant()
    def what_is_visible_is_there_and_final(self) -> None:
        succeeded = [r for r in self.model.renders.values() if r.state is RenderState.SUCCEEDED]
        assert self.rows.images() == sorted((r.id, r.fence) for r in succeeded)
        assert self.rows.keys(visible=True) <= self.shelf.keys
        assert self.shelf.keys <= self.rows.keys(visible=False), "an object that nothing tells of"
