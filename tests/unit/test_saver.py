"""Checkpoints on their way to the bucket: one of a render at a time, the newest that waits, and an end in time."""

from __future__ import annotations

import threading
import time
from concurrent.futures import Future
from typing import TYPE_CHECKING, cast

import pytest

from latentfarm.errors import TransientError
from latentfarm.records import ObjectRef, Saved
from latentfarm.states import Lane, Stage
from tests.unit.test_worker_holdings import claimed
from worker.checkpoints import unpack
from worker.engine.order import Checkpoint, Order
from worker.holdings import Holdings
from worker.saver import Saver

if TYPE_CHECKING:
    from collections.abc import Iterator

    from latentfarm.messages import Pair
    from latentfarm.spec import RenderSpec
    from latentfarm.storage import ObjectStore
    from worker.committer import Committer

WAIT_S = 10


class Bucket:
    """Stands for the store: a put waits until `open` is set.

    Attributes:
        steps: of what was put, in order.
    """

    def __init__(self) -> None:
        self.open = threading.Event()
        self.entered = threading.Semaphore(0)
        self.away = False
        self.steps: list[tuple[str, int]] = []

    def put(self, key: str, data: bytes, content_type: str) -> ObjectRef:
        self.entered.release()
        assert self.open.wait(WAIT_S)
        if self.away:
            raise TransientError("away")
        self.steps.append((key, unpack(data).step))
        return ObjectRef(key, b"\0" * 32, len(data))


class Records:
    """Stands for the committer.

    Attributes:
        shown: steps that became visible.
        gone: renders whose fence has risen.
    """

    def __init__(self) -> None:
        self.planned: list[int] = []
        self.shown: list[int] = []
        self.gone: set[int] = set()
        self.changed = threading.Condition()

    def plan(self, saved: Saved) -> Future[set[Pair]]:
        return self._note(self.planned, saved)

    def show(self, saved: Saved) -> Future[set[Pair]]:
        return self._note(self.shown, saved)

    def _note(self, steps: list[int], saved: Saved) -> Future[set[Pair]]:
        answer: Future[set[Pair]] = Future()
        answer.set_result(set() if saved.render_id in self.gone else {(saved.render_id, saved.fence)})
        with self.changed:
            steps.append(saved.step)
            self.changed.notify_all()
        return answer

    def until_shown(self, steps: list[int]) -> None:
        with self.changed:
            assert self.changed.wait_for(lambda: self.shown == steps, WAIT_S), self.shown


@pytest.fixture
def bucket() -> Iterator[Bucket]:
    bucket = Bucket()
    yield bucket
    bucket.open.set()


@pytest.fixture
def records() -> Records:
    return Records()


@pytest.fixture
def saver(bucket: Bucket, records: Records) -> Iterator[Saver]:
    holdings = Holdings()
    for render in range(1, 20):
        holdings.add(claimed(render, 1))
    saver = Saver(holdings, cast("Committer", records), cast("ObjectStore", bucket))
    yield saver
    bucket.open.set()
    saver.close()


def order(render_id: int = 1) -> Order:
    return Order(render_id, 1, Stage.BASE, cast("RenderSpec", None), 0, Lane.BULK)


def at(step: int) -> Checkpoint:
    return Checkpoint(step, {"value": step}, {})


def test_a_newer_one_takes_the_place_of_one_that_waits(
    saver: Saver, bucket: Bucket, records: Records
) -> None:
    saver.offer(order(), at(1), 1)
    assert bucket.entered.acquire(timeout=WAIT_S)
    for step in (2, 3, 4):
        saver.offer(order(), at(step), step)
    bucket.open.set()
    records.until_shown([1, 4])
    assert records.planned == [1, 4]
    assert bucket.steps == [
        ("v1/checkpoints/1/1-1.safetensors", 1),
        ("v1/checkpoints/1/1-4.safetensors", 4),
    ]


def test_a_render_that_is_gone_is_not_put(saver: Saver, bucket: Bucket, records: Records) -> None:
    bucket.open.set()
    records.gone = {1}
    assert saver.drain([(order(1), at(3), 3), (order(99), at(3), 3)], time.monotonic() + WAIT_S) == {}
    assert bucket.steps == []
    assert records.planned == [3], "99 is not even held"


def test_a_store_that_is_away_costs_a_checkpoint_and_nothing_else(
    saver: Saver, bucket: Bucket, records: Records
) -> None:
    bucket.away = True
    bucket.open.set()
    saver.offer(order(), at(1), 1)
    assert bucket.entered.acquire(timeout=WAIT_S)
    assert saver.drain([(order(2), at(5), 5)], time.monotonic() + WAIT_S) == {}
    assert records.shown == []


def test_draining_puts_the_last_states_and_leaves_it_to_the_release_to_show_them(
    saver: Saver, bucket: Bucket, records: Records
) -> None:
    bucket.open.set()
    found = saver.drain([(order(n), at(n), n) for n in range(1, 17)], time.monotonic() + WAIT_S)
    assert sorted(found) == [(n, 1) for n in range(1, 17)]
    assert all(saved.ref is not None for saved in found.values())
    assert records.shown == []
    saver.offer(order(), at(40), 40)
    assert records.planned.count(40) == 0, "nothing more is taken"


def test_draining_ends_in_time(saver: Saver, bucket: Bucket, records: Records) -> None:
    """The store hangs: the renders go back without."""
    saver.offer(order(1), at(2), 2)
    assert bucket.entered.acquire(timeout=WAIT_S)
    saver.offer(order(1), at(3), 3)
    started = time.monotonic()
    assert saver.drain([(order(1), at(4), 4), (order(2), at(4), 4)], started + 0.05) == {}
    assert time.monotonic() - started < WAIT_S / 2
    bucket.open.set()
    records.until_shown([2])
    assert 3 not in records.planned, "what waited was older than the last"
