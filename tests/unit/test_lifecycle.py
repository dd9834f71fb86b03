"""Submit and cancel: what is stored, what is sent, what a repeated key answers."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, field
from itertools import count
from typing import TYPE_CHECKING
from uuid import UUID

import pytest

from latentfarm.errors import Conflict, IdempotencyMismatch, InvalidInput, NotFound, ServiceUnavailable
from latentfarm.lifecycle import Farm
from latentfarm.records import Job, Pick, Picked, Queue
from latentfarm.registry import ModelEntry, Registry
from latentfarm.spec import SEED_RANGE, RenderSpec
from latentfarm.states import Lane, Stage

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from latentfarm.quotas import Ask

SPEC = RenderSpec(prompt="a red circle", seed=7)


@dataclass
class Records:
    """Keeps jobs and keys in dictionaries."""

    jobs: dict[UUID, tuple[str, RenderSpec]] = field(default_factory=dict)
    keys: dict[tuple[str, str], tuple[bytes, UUID]] = field(default_factory=dict)
    cancelled: list[UUID] = field(default_factory=list)
    picked: list[int] = field(default_factory=list)
    locked: bool = False
    elsewhere: bool = False

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
        if key is not None and (tenant, key) in self.keys:
            return None, self.keys[tenant, key]
        if key is not None:
            self.keys[tenant, key] = (fingerprint, job_id)
        self.jobs[job_id] = (tenant, spec)
        if window_per_worker is None or self.elsewhere:
            return 2, None
        return Picked(self.queues()[1], (Pick(1, 0, alone=False),), 1, 12), None

    def known_key(self, tenant: str, key: str) -> tuple[bytes, UUID] | None:
        return self.keys.get((tenant, key))

    def queues(self) -> list[Queue]:
        return [Queue(number, f"queue{number}", Stage.BASE, "tiny", Lane.INTERACTIVE) for number in (1, 2, 3)]

    def pick(self, queue: Queue, *, window_per_worker: int) -> Picked:
        if self.locked:
            raise Conflict("another dispatcher holds the queue")
        self.picked.append(queue.id)
        return Picked(queue, (Pick(1, 0, alone=False),), 1, 12)

    def take_lost(self, queue: Queue, *, after_s: float, room: int) -> list[Pick]:
        raise AssertionError("only the scheduler repeats")

    def count_dispatched(self, queue: Queue) -> int:
        return 0

    def get_job(self, job_id: UUID, *, tenant: str) -> Job | None:
        return None

    def mark_cancelled(self, job_id: UUID, *, tenant: str) -> bool:
        return self.jobs.get(job_id, ("", None))[0] == tenant

    def mark_deleted(self, job_id: UUID, *, tenant: str) -> bool:
        raise AssertionError("no test deletes")

    def cancel_renders(self, job_id: UUID) -> int:
        self.cancelled.append(job_id)
        return 1


@dataclass
class Sender:
    """Remembers queues; refuses while `away`."""

    away: bool = False
    queues: list[str] = field(default_factory=list)

    def send(self, queue: str, picks: Sequence[Pick], *, chunk: int) -> None:
        if self.away:
            raise ServiceUnavailable("away")
        self.queues.append(queue)

    def length(self, queue: str) -> int:
        return 0


@pytest.fixture
def records() -> Records:
    return Records()


@pytest.fixture
def sender() -> Sender:
    return Sender()


@pytest.fixture
def farm(records: Records, sender: Sender) -> Farm:
    numbers = count(1)
    entry = ModelEntry(name="tiny", base="nowhere", native_size=(64, 96), min_size=64, max_size=256)
    return Farm(records, sender, Registry({"tiny": entry}), lambda: UUID(int=next(numbers)))


def test_a_job_is_stored_with_the_models_defaults(farm: Farm, records: Records) -> None:
    submitted = farm.submit(SPEC, tenant="t")
    tenant, spec = records.jobs[submitted.job_id]
    assert (tenant, spec.height, spec.width, spec.sampler, spec.seed) == ("t", 64, 96, "euler", 7)
    assert not submitted.replayed


def test_a_seed_is_drawn_when_none_is_given(farm: Farm, records: Records) -> None:
    for _ in range(20):
        farm.submit(RenderSpec(prompt="a"))
    seeds = [spec.seed for _, spec in records.jobs.values()]
    assert len(set(seeds)) == 20
    assert all(seed is not None and 0 <= seed < SEED_RANGE for seed in seeds)


def test_interactive_renders_are_sent_at_once_to_their_own_queue(farm: Farm, sender: Sender) -> None:
    farm.submit(SPEC)
    assert sender.queues == ["queue2"]


def test_while_another_dispatcher_is_at_the_queue_it_is_picked_from_after_it(
    farm: Farm, records: Records, sender: Sender
) -> None:
    records.elsewhere = True
    farm.submit(SPEC)
    assert (sender.queues, records.picked) == (["queue2"], [2])


def test_bulk_renders_wait_for_the_scheduler(farm: Farm, sender: Sender) -> None:
    farm.submit(SPEC.model_copy(update={"lane": Lane.BULK}))
    assert sender.queues == []


@pytest.mark.parametrize("trouble", ["redis", "lock"])
def test_trouble_after_the_commit_is_the_schedulers(
    farm: Farm, records: Records, sender: Sender, trouble: str
) -> None:
    sender.away = trouble == "redis"
    records.elsewhere = records.locked = trouble == "lock"
    assert farm.submit(SPEC).job_id in records.jobs


def test_a_bad_spec_stores_nothing(farm: Farm, records: Records) -> None:
    for change in ({"model": "other"}, {"width": 8}, {"sampler": "none"}, {"image": "data:"}):
        with pytest.raises(InvalidInput):
            farm.submit(SPEC.model_copy(update=change))
    assert records.jobs == {}


def test_the_same_key_and_body_answer_with_the_first_job(farm: Farm, records: Records) -> None:
    first = farm.submit(RenderSpec(prompt="a"), key="k")
    again = farm.submit(RenderSpec(prompt="a"), key="k")
    assert (again.job_id, again.replayed, len(records.jobs)) == (first.job_id, True, 1)


def test_a_key_is_known_again_by_a_release_whose_specs_have_more_fields(farm: Farm, records: Records) -> None:
    farm.submit(SPEC, key="k")
    assert records.keys["", "k"][0] == hashlib.sha256(b'{"prompt":"a red circle","seed":7}').digest()


def test_the_same_key_with_another_body_is_refused(farm: Farm, records: Records) -> None:
    farm.submit(RenderSpec(prompt="a"), key="k")
    with pytest.raises(IdempotencyMismatch):
        farm.submit(RenderSpec(prompt="b"), key="k")
    assert len(records.jobs) == 1


def test_keys_of_two_tenants_do_not_meet(farm: Farm, records: Records) -> None:
    farm.submit(RenderSpec(prompt="a"), key="k", tenant="one")
    assert not farm.submit(RenderSpec(prompt="b"), key="k", tenant="two").replayed


def test_cancel_marks_first_and_then_ends_the_renders(farm: Farm, records: Records) -> None:
    job_id = farm.submit(SPEC, tenant="t").job_id
    with pytest.raises(NotFound):
        farm.cancel(job_id, tenant="t")  # these records cannot show jobs
    assert records.cancelled == [job_id]


def test_nobody_cancels_the_job_of_another_tenant(farm: Farm, records: Records) -> None:
    job_id = farm.submit(SPEC, tenant="t").job_id
    with pytest.raises(NotFound):
        farm.cancel(job_id, tenant="other")
    assert records.cancelled == []
