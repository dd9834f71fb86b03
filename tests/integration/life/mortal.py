"""The repository of a process that may die in every transaction; tells the model what was committed."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, TypeVar

from latentfarm.messages import queue_name
from latentfarm.modes import first_stage
from latentfarm.records import Picked
from latentfarm.repository.facade import Repository
from latentfarm.states import RenderState
from tests.integration.life.outside import Crash, Fuse

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from uuid import UUID

    from sqlalchemy import Connection, Engine

    from latentfarm.quotas import Ask
    from latentfarm.records import Pick, Queue
    from latentfarm.spec import RenderSpec
    from tests.integration.life.model import Model

T = TypeVar("T")


class Mortal(Repository):
    """Its methods are the real ones. `model` hears of each commit, also when nobody else did.

    `stored` is called with the id of each job that was accepted, `buried` after the end of an incarnation.
    """

    def __init__(self, engine: Engine, fuse: Fuse, model: Model) -> None:
        super().__init__(engine)
        self._fuse = fuse
        self._model = model
        self._then: Callable[[Any], object] | None = None
        self.stored: Callable[[UUID], object] = lambda _: None
        self.buried: Callable[[], object] = lambda: None

    def transact(self, work: Callable[[Connection], T], *, single: bool = False) -> T:
        """One call to the outside."""
        then, self._then = self._then, None
        moment = self._fuse.burn()
        if moment == "before" or (moment == "inside" and single):
            raise Crash

        def torn(connection: Connection) -> T:
            result = work(connection)
            if moment == "inside":
                raise Crash
            return result

        result = super().transact(torn, single=single)
        if then is not None:
            then(result)
        if moment is not None:
            raise Crash
        return result

    def act(self, work: Callable[[Connection], T], then: Callable[[T], object]) -> T:
        """A transaction of several statements, and what the model makes of its answer."""
        self._then = then
        return self.transact(work)

    def add_job(
        self,
        job_id: UUID,
        spec: RenderSpec,
        *,
        tenant: str,
        key: str | None = None,
        fingerprint: bytes = b"",
        window_per_worker: int | None = None,
        asks: Callable[[], Ask] | None = None,
    ) -> tuple[int | Picked | None, tuple[bytes, UUID] | None]:
        """A job comes in; an interactive one leaves the backlog at once unless something waits in its queue."""

        def added(
            answer: int | Picked | tuple[int | Picked | None, tuple[bytes, UUID] | None] | None,
        ) -> None:
            # Nobody races here, and no tenant has limits: by one statement it is always stored.
            stored = answer[0] if isinstance(answer, tuple) else answer
            name = queue_name(first_stage(spec), spec.model, spec.lane)
            renders = self._model.renders.values()
            others = any(render.queue == name and render.state is RenderState.QUEUED for render in renders)
            self.stored(job_id)
            at_once = window_per_worker is not None and not others
            assert isinstance(stored, Picked) == at_once
            if isinstance(stored, Picked):
                self._picked(stored.queue, stored.picks)

        self._then = added
        return super().add_job(
            job_id,
            spec,
            tenant=tenant,
            key=key,
            fingerprint=fingerprint,
            window_per_worker=window_per_worker,
            asks=asks,
        )

    def _picked(self, queue: Queue, picks: Sequence[Pick]) -> None:
        """All that is due: the window is larger than the model ever is."""
        assert {pick.render_id for pick in picks} == {r.id for r in self._model.due(queue.name)}
        self._model.dispatched((pick.render_id, pick.fence) for pick in picks)

    def pick(self, queue: Queue, *, window_per_worker: int) -> Picked:
        """Dispatch takes what is due."""
        self._then = lambda answer: self._picked(queue, answer.picks)
        return super().pick(queue, window_per_worker=window_per_worker)

    def mark_cancelled(self, job_id: UUID, *, tenant: str) -> bool:
        """The first half of a cancel."""

        def marked(answer: bool) -> None:
            job = self._model.jobs[job_id]
            assert answer == (job.ended is None)
            job.cancelled = job.cancelled or answer

        self._then = marked
        return super().mark_cancelled(job_id, tenant=tenant)

    def cancel_renders(self, job_id: UUID) -> int:
        """The second half."""
        self._then = lambda _: self._model.cancelled(job_id)
        return super().cancel_renders(job_id)

    def end_worker(self, worker: int, reason: str) -> list[int]:
        """A parent buries its child."""

        def ended(_: object) -> None:
            self._model.died(worker)
            self.buried()

        self._then = ended
        return super().end_worker(worker, reason)
