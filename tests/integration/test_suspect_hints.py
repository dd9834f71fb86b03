"""A worker empties itself for a suspect only while that suspect is still to be had."""

from __future__ import annotations

import time
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, cast

import pytest

from latentfarm.messages import Message
from latentfarm.states import Lane
from tests.integration.device import Device, column, run, submit
from worker import intake as module
from worker.assembly import Assembled
from worker.claimer import Claimer
from worker.committer import Committer
from worker.holdings import Holdings
from worker.inbox import Inbox
from worker.intake import Intake

if TYPE_CHECKING:
    from collections.abc import Iterator

    from latentfarm.messages import Pair
    from latentfarm.repository.facade import Repository
    from latentfarm.storage import S3Store
    from worker.engine.order import Order

WAIT_S = 10.0


@dataclass
class NeverDone:
    """An engine that takes orders and ends none."""

    taken: list[int] = field(default_factory=list)

    def submit(self, order: Order) -> None:
        self.taken.append(order.render_id)


@dataclass
class Bench:
    """The parts of a child that claim."""

    inbox: Inbox
    engine: NeverDone
    holdings: Holdings

    def offer(self, *pairs: Pair, alone: bool = False) -> None:
        self.inbox.offer(Message(pairs, alone=alone), Lane.BULK)

    def claims(self, render: int) -> bool:
        """Whether it takes a render while it still holds others."""
        ends = time.monotonic() + WAIT_S
        while render not in self.engine.taken and time.monotonic() < ends:
            time.sleep(0.01)
        return render in self.engine.taken


@pytest.fixture
def bench(repository: Repository, store: S3Store, monkeypatch: pytest.MonkeyPatch) -> Iterator[Bench]:
    monkeypatch.setattr(module, "LOOK_S", 0.1)
    device = Device(repository, "cuda:0")
    inbox, holdings, engine = Inbox(8), Holdings(), NeverDone()
    claimer, committer = Claimer(repository, device.worker), Committer(repository)
    committer.start()
    assembled = Assembled(cast("Any", engine))
    intake = Intake(inbox, holdings, claimer, committer, store, assembled, sick=lambda: None)
    intake.start()
    yield Bench(inbox, engine, holdings)
    intake.stop()
    committer.close(WAIT_S)


def _dispatched(repository: Repository, count: int) -> list[Pair]:
    renders = submit(repository, count)
    for queue in repository.queues():
        repository.pick(queue, window_per_worker=100)
    fences = column(
        repository, "SELECT fence FROM renders WHERE id = ANY (:ids) AND state = 1 ORDER BY id", ids=renders
    )
    return list(zip(renders, fences, strict=True))


def test_a_suspect_that_another_worker_took_is_not_waited_for(repository: Repository, bench: Bench) -> None:
    held, suspect, next_one = _dispatched(repository, 3)
    bench.offer(held)
    assert bench.claims(held[0])
    other = Device(repository, "cuda:1")
    assert len(other.claim(suspect[0])) == 1
    bench.offer(suspect, alone=True)
    bench.offer(next_one)
    assert bench.claims(next_one[0])
    assert bench.inbox.alone() == []


def test_a_suspect_that_waits_lets_nothing_pass(repository: Repository, bench: Bench) -> None:
    held, suspect, next_one, stale = _dispatched(repository, 4)
    bench.offer(held)
    assert bench.claims(held[0])
    bench.offer(suspect, alone=True)
    assert len(Device(repository, "cuda:1").claim(stale[0])) == 1
    bench.offer(stale, alone=True)
    bench.offer(next_one)
    ends = time.monotonic() + WAIT_S
    while len(bench.inbox.alone()) > 1 and time.monotonic() < ends:
        time.sleep(0.01)
    # It has looked, and has forgotten the other one alone.
    assert bench.inbox.alone() == [suspect]
    assert bench.engine.taken == [held[0]]


def test_nothing_is_claimed_beside_a_suspect_that_runs(repository: Repository, bench: Bench) -> None:
    suspect, next_one = _dispatched(repository, 2)
    run(repository, "UPDATE renders SET suspect = true WHERE id = :id", id=suspect[0])
    bench.offer(suspect, alone=True)
    assert bench.claims(suspect[0])
    bench.offer(next_one)
    time.sleep(5 * module.WAIT_S)
    assert bench.engine.taken == [suspect[0]]
    bench.holdings.remove(suspect[0], suspect[1] + 1)
    assert bench.claims(next_one[0])
