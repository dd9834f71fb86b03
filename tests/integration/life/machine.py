"""All that can happen to renders, in any order, with a process that may die at any call to the outside."""

from __future__ import annotations

from typing import TYPE_CHECKING

from hypothesis import strategies as st
from hypothesis.stateful import precondition, rule

from latentfarm.dispatch import dispatch
from latentfarm.errors import ErrorClass
from latentfarm.records import Done, Failure, ObjectRef
from latentfarm.repository import claiming, failing, finishing
from latentfarm.spec import RefinerSpec, RenderSpec
from latentfarm.states import Lane, Stage
from tests.integration.life.ground import Death, Ground
from tests.integration.life.model import Job
from tests.integration.life.outside import MOMENTS

if TYPE_CHECKING:
    from uuid import UUID

    from latentfarm.messages import Message, Pair
    from latentfarm.records import Claimed

MOST_JOBS, MOST_WORKERS = 5, 3
DEATHS = st.one_of(st.none(), st.tuples(st.integers(0, 3), st.sampled_from(MOMENTS)))
ERRORS = st.sampled_from([error for error in ErrorClass if error is not ErrorClass.POISON])


class Life(Ground):
    """Rules act as users, schedulers, workers with their parents, and fate."""

    # Users

    @precondition(lambda self: len(self.model.jobs) < MOST_JOBS)
    @rule(n=st.integers(1, 3), lane=st.sampled_from(Lane), refined=st.booleans(), death=DEATHS)
    def submit(self, n: int, lane: Lane, refined: bool, death: Death) -> None:
        refiner = RefinerSpec() if refined else None
        spec = RenderSpec(prompt="x", width=64, height=64, num_images=n, seed=1, lane=lane, refiner=refiner)

        def stored(job_id: UUID) -> None:
            self.model.add(Job(job_id, lane.value, refined), self.rows.renders_of(job_id))

        self.records.stored = stored
        self.live(death, lambda: self.farm.submit(spec))

    @precondition(lambda self: self.model.jobs)
    @rule(data=st.data(), death=DEATHS)
    def cancel(self, data: st.DataObject, death: Death) -> None:
        job_id = data.draw(st.sampled_from(sorted(self.model.jobs)))
        self.live(death, lambda: self.farm.cancel(job_id))

    # Schedulers

    @rule(death=DEATHS)
    def dispatch(self, death: Death) -> None:
        def work() -> None:
            for queue in self.records.queues():
                dispatch(self.records, self.bag, queue)

        self.live(death, work)

    @rule(death=DEATHS)
    def republish(self, death: Death) -> None:
        self.live(death, lambda: self.records.transact(self.duties.republish))

    @rule(death=DEATHS)
    def rescue(self, death: Death) -> None:
        def rescued(answer: tuple[list[int], list[int]]) -> None:
            assert set(answer[0]) == self.vanished
            for worker in answer[0]:
                self.model.died(worker, blame=False)
            self.vanished.clear()
            self.rest_devices()

        work = lambda c: failing.rescue_expired(c, lease_s=0.0)  # noqa: E731 - a name for a line
        self.live(death, lambda: self.records.act(work, rescued))

    @rule(death=DEATHS)
    def finish_cancels(self, death: Death) -> None:
        self.rows.change("UPDATE jobs SET cancelled_at = cancelled_at - interval '1 min'")
        half = [job.id for job in self.model.jobs.values() if job.cancelled and job.ended is None]

        def finished(_: str) -> None:
            for job_id in half:
                self.model.cancelled(job_id)

        self.live(death, lambda: self.records.act(self.duties.finish_cancels, finished))

    @rule(death=DEATHS)
    def recheck(self, death: Death) -> None:
        self.rows.change("UPDATE jobs SET created_at = created_at - interval '1 min'")

        def unneeded(told: str) -> None:
            assert told == "", "a counter was wrong"

        self.live(death, lambda: self.records.act(self.duties.recheck_jobs, unneeded))

    @rule(death=DEATHS)
    def collect(self, death: Death) -> None:
        self.live(death, lambda: self.records.transact(self.duties.collect))
        # Its grace is longer than a worker that was superseded may go on: who still uploads then is no worker.
        told = self.rows.keys(visible=False)
        self.hands = [(worker, item) for worker, item in self.hands if item.key in told]

    # Workers and their parents

    @precondition(lambda self: len(self.model.alive) < MOST_WORKERS)
    @rule()
    def start_worker(self) -> None:
        worker = self.records.register(
            host="h", pid=1, device="cpu", stages=[Stage.BASE, Stage.REFINE], models=["tiny"], lease_s=3600
        )
        self.model.alive.add(worker)

    @precondition(lambda self: self.bag.messages and self.model.alive)
    @rule(data=st.data(), death=DEATHS)
    def deliver(self, data: st.DataObject, death: Death) -> None:
        worker = data.draw(st.sampled_from(sorted(self.model.alive)))
        index = data.draw(st.integers(0, len(self.bag.messages) - 1))
        _, message = self.bag.messages.pop(index)
        self.claim(worker, message, death)

    def claim(self, worker: int, message: Message, death: Death = None) -> None:
        """A message reaches a worker."""
        expected = self.model.claimable(message.renders)

        def claimed(answer: list[Claimed]) -> None:
            assert {item.render_id for item in answer} == expected
            self.model.claimed(expected, worker)
            self.hands += [(worker, item) for item in answer]

        work = lambda c: claiming.claim(c, worker, message.renders)  # noqa: E731 - a name for a line
        self.live(death, lambda: self.records.act(work, claimed))

    @precondition(lambda self: self.hands)
    @rule(data=st.data(), death=DEATHS)
    def finish(self, data: st.DataObject, death: Death) -> None:
        """Also by one that lost the render long ago, or that does not know that it has finished it."""
        item = data.draw(st.sampled_from(self.hands))[1]
        self.deliver_result(item, death)

    def deliver_result(self, item: Claimed, death: Death = None) -> None:
        """Upload, then commit."""
        pair = (item.render_id, item.fence)
        done = Done(*pair, ObjectRef(item.key, b"\0" * 32, 1), steps=1)
        end = finishing.finish if item.key.startswith("v1/images") else finishing.hand_over

        def ended(answer: set[Pair]) -> None:
            assert (pair in answer) == self.model.finished(pair)

        def work() -> None:
            self.shelf.put(item.key)
            self.records.act(lambda c: end(c, [done]), ended)

        self.live(death, work)

    @precondition(lambda self: self.hands)
    @rule(data=st.data(), error=ERRORS, death=DEATHS)
    def fail(self, data: st.DataObject, error: ErrorClass, death: Death) -> None:
        item = data.draw(st.sampled_from(self.hands))[1]
        pair = (item.render_id, item.fence)

        def failed(answer: set[Pair]) -> None:
            assert (pair in answer) == self.model.failed(pair, error)
            self.rest_devices()

        failure = Failure(*pair, error, "it went wrong")
        self.live(death, lambda: self.records.act(lambda c: failing.fail(c, [failure]), failed))

    @precondition(lambda self: self.hands)
    @rule(data=st.data(), death=DEATHS)
    def release(self, data: st.DataObject, death: Death) -> None:
        item = data.draw(st.sampled_from(self.hands))[1]
        pair = (item.render_id, item.fence)

        def released(answer: set[Pair]) -> None:
            assert (pair in answer) == self.model.released(pair)

        self.live(death, lambda: self.records.act(lambda c: failing.release(c, [pair]), released))

    @precondition(lambda self: self.model.alive)
    @rule(data=st.data(), death=DEATHS)
    def child_dies(self, data: st.DataObject, death: Death) -> None:
        worker = data.draw(st.sampled_from(sorted(self.model.alive)))
        self.records.buried = self.rest_devices
        self.live(death, lambda: self.records.end_worker(worker, "exited"))
        if worker not in self.model.alive:
            self.vanished.discard(worker)

    # Fate

    @precondition(lambda self: self.model.alive)
    @rule(data=st.data())
    def vanish(self, data: st.DataObject) -> None:
        worker = data.draw(st.sampled_from(sorted(self.model.alive)))
        self.rows.change("UPDATE workers SET lease_until = now() - interval '1 s' WHERE id = :id", id=worker)
        self.vanished.add(worker)

    @rule()
    def flush(self) -> None:
        self.bag.messages.clear()
        self.bag.flushed = True

    @precondition(lambda self: self.bag.messages)
    @rule(data=st.data(), twice=st.booleans())
    def lose_or_double(self, data: st.DataObject, twice: bool) -> None:
        index = data.draw(st.integers(0, len(self.bag.messages) - 1))
        message = self.bag.messages[index] if twice else self.bag.messages.pop(index)
        if twice:
            self.bag.messages.append(message)

    @rule()
    def wait(self) -> None:
        """Back-offs are over, and messages are old enough to count as lost."""
        self.rows.change("UPDATE renders SET due_at = now() WHERE state = 0")
        self.rows.change("UPDATE renders SET sent_at = now() - interval '1 h' WHERE state = 1")
        for render in self.model.renders.values():
            render.due = True

    def teardown(self) -> None:
        """Left in peace, everything ends, and nothing is left over."""
        if not hasattr(self, "model"):
            return
        for _ in range(40):
            if all(job.ended for job in self.model.jobs.values()):
                break
            self.calm_round()
        assert all(job.ended for job in self.model.jobs.values()), "stuck"
        self.rows_are_as_they_should_be()
        for _ in range(2):  # one sweep marks, the next deletes
            self.collect(None)
        self.what_is_visible_is_there_and_final()
        assert self.shelf.keys == self.rows.keys(visible=True)

    def calm_round(self) -> None:
        """One turn of a healthy farm."""
        self.rescue(None)
        if not self.model.alive:
            self.start_worker()
        self.finish_cancels(None)
        self.wait()
        self.dispatch(None)
        self.republish(None)
        worker = min(self.model.alive)
        messages, self.bag.messages = self.bag.messages, []
        for _, message in messages:
            self.claim(worker, message)
        for _, item in self.hands:
            self.deliver_result(item)
