"""What should stand in SQL: the life of renders and jobs in plain Python, without fences in WHERE clauses."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from latentfarm.retry import POLICIES, GiveUp, Retry, decide, decide_death
from latentfarm.states import JobState, RenderState, Stage, may_follow

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping
    from uuid import UUID

    from latentfarm.errors import ErrorClass
    from latentfarm.messages import Pair

S = RenderState


@dataclass(slots=True)
class Render:
    """One image. `due`: its back-off is over."""

    id: int
    job: Job
    queue: str
    state: RenderState = S.QUEUED
    stage: Stage = Stage.BASE
    fence: int = 0
    tries: int = 0
    starts: int = 0
    suspect: bool = False
    owner: int | None = None
    due: bool = True

    def row(self) -> tuple[object, ...]:
        """As SQL should have it."""
        numbers = (self.fence, self.tries, self.starts)
        return (self.id, self.queue, int(self.state), int(self.stage), *numbers, self.suspect, self.owner)

    def move(self, state: RenderState) -> None:
        """Enters a state; only along the table of transitions."""
        assert may_follow(self.state, state), f"{self.state!r} -> {state!r}"
        self.state = state
        if state is not S.RUNNING:
            self.owner = None


@dataclass(slots=True)
class Job:
    """What a user asked for; ends once."""

    id: UUID
    lane: str
    refined: bool
    renders: list[Render] = field(default_factory=list)
    cancelled: bool = False
    started: bool = False
    ended: JobState | None = None

    def row(self) -> tuple[object, ...]:
        """As SQL should have it: id, state, remaining, queued, failed, and how often its end was told."""
        states = [render.state for render in self.renders]
        live = sum(state in (S.QUEUED, S.DISPATCHED, S.RUNNING) for state in states)
        running = JobState.RUNNING if self.started else JobState.QUEUED
        ends = 0 if self.ended is None else 1
        return (
            self.id,
            (self.ended or running).value,
            live,
            states.count(S.QUEUED),
            states.count(S.FAILED),
            ends,
        )

    def settle(self) -> None:
        """Ends the job if its last render has ended."""
        states = {render.state for render in self.renders}
        if self.ended is None and not states & {S.QUEUED, S.DISPATCHED, S.RUNNING}:
            failed = JobState.FAILED if S.FAILED in states else JobState.SUCCEEDED
            self.ended = JobState.CANCELLED if self.cancelled else failed


class Model:
    """All jobs, and which incarnations are alive."""

    def __init__(self) -> None:
        self.jobs: dict[UUID, Job] = {}
        self.renders: dict[int, Render] = {}
        self.alive: set[int] = set()
        self.shown: set[Pair] = set()
        """Stages that ended well and whose objects are there: their echo is accepted as well."""

    def add(self, job: Job, ids: Iterable[int]) -> None:
        """A job was accepted."""
        self.jobs[job.id] = job
        job.renders = [Render(id_, job, f"base.tiny.{job.lane}") for id_ in ids]
        self.renders |= {render.id: render for render in job.renders}

    def due(self, queue: str) -> list[Render]:
        """What a dispatcher may pick."""
        return [r for r in self.renders.values() if r.queue == queue and r.state is S.QUEUED and r.due]

    def dispatched(self, pairs: Iterable[Pair]) -> None:
        """They were picked."""
        for render_id, fence in pairs:
            render = self.renders[render_id]
            assert render.fence == fence
            render.move(S.DISPATCHED)

    def claimable(self, pairs: Iterable[Pair]) -> set[int]:
        """Which of the renders of a message can be had."""
        known = {(r.id, r.fence) for r in self.renders.values() if r.state is S.DISPATCHED}
        return {pair[0] for pair in pairs if pair in known}

    def claimed(self, ids: Iterable[int], worker: int) -> None:
        """A worker has them."""
        assert worker in self.alive
        for render in (self.renders[id_] for id_ in ids):
            render.move(S.RUNNING)
            render.fence += 1
            render.starts += 1
            render.owner = worker
            render.job.started = True

    def held(self, pair: Pair) -> Render | None:
        """The render, if whoever holds it under that fence may write."""
        render = self.renders[pair[0]]
        return render if render.state is S.RUNNING and render.fence == pair[1] else None

    def finished(self, pair: Pair) -> bool:
        """A stage ended well; False: refused, unless it is the echo of what was accepted before."""
        render = self.held(pair)
        if render is None:
            return pair in self.shown
        self.shown.add(pair)
        if render.stage is Stage.BASE and render.job.refined:
            render.move(S.QUEUED)
            render.stage, render.queue = Stage.REFINE, f"refine.tiny.{render.job.lane}"
            render.fence, render.tries, render.suspect, render.due = render.fence + 1, 0, False, True
        else:
            render.move(S.SUCCEEDED)
            render.suspect = False
            render.job.settle()
        return True

    def failed(self, pair: Pair, error: ErrorClass) -> bool:
        """A stage ended badly."""
        render = self.held(pair)
        if render is None:
            return False
        verdict = decide(error, tries=render.tries, starts=render.starts, alone=render.suspect)
        self._go(render, verdict, render.suspect or POLICIES[error].isolates)
        return True

    def released(self, pair: Pair) -> bool:
        """A worker drains: nothing is charged."""
        render = self.held(pair)
        if render is None:
            return False
        render.starts -= 1
        self._go(render, Retry(0.0, 0), render.suspect)
        return True

    def died(self, worker: int, *, blame: bool = True) -> None:
        """An incarnation has ended, and what it ran goes back. `blame`: its parent outlived it."""
        self.alive.discard(worker)
        for render in self.renders.values():
            if render.state is S.RUNNING and render.owner == worker:
                verdict = decide_death(
                    alone=render.suspect and blame, tries=render.tries, starts=render.starts
                )
                self._go(render, verdict, suspect=True)

    def quarantined(self, worker: int, tries: Mapping[int, int]) -> None:
        """A device was at fault: what its incarnation ran goes back, and charges are refunded.

        Args:
            tries: as they stand now. Which charges are refunded `tests/integration/test_blame.py` tests.
        """
        self.alive.discard(worker)
        for render in self.renders.values():
            if render.state in (S.QUEUED, S.DISPATCHED, S.RUNNING):
                assert tries[render.id] <= render.tries
                render.tries = tries[render.id]
            if render.state is S.RUNNING and render.owner == worker:
                render.starts -= 1
                self._go(render, Retry(0.0, 0), render.suspect)

    def _go(self, render: Render, verdict: Retry | GiveUp, suspect: bool) -> None:
        render.fence += 1
        render.tries += verdict.charge
        if isinstance(verdict, GiveUp):
            render.move(S.FAILED)
            render.job.settle()
            return
        render.move(S.QUEUED)
        render.suspect, render.due = suspect, verdict.delay_s == 0
        if verdict.rewind and render.stage is Stage.REFINE:
            render.stage, render.queue = Stage.BASE, f"base.tiny.{render.job.lane}"
            self.shown = {pair for pair in self.shown if pair[0] != render.id}

    def cancelled(self, job_id: UUID) -> None:
        """All of a job that still lives ends."""
        job = self.jobs[job_id]
        for render in job.renders:
            if render.state in (S.QUEUED, S.DISPATCHED, S.RUNNING):
                render.move(S.CANCELLED)
                render.fence += 1
        job.settle()
