"""When a consumer counts as hung, and all that must not count."""

from __future__ import annotations

from uuid import UUID

import pytest

from latentfarm.messages import Message
from latentfarm.records import Claimed
from latentfarm.states import Lane, Stage
from worker.holdings import Holdings
from worker.inbox import Inbox
from worker.standstill import LOOK_S, LOOKS, Standstill

CLAIMED = Claimed(
    render_id=1,
    fence=1,
    job_id=UUID(int=1),
    ordinal=0,
    stage=Stage.BASE,
    lane=Lane.BULK,
    picture={},
    seed=1,
    key="v1/latents/1/1.safetensors",
    alone=False,
    spec_id=1,
)


class Ear:
    """A consumer whose messages wait, until the test says otherwise."""

    def __init__(self) -> None:
        self.taken = 0
        self.waits = True
        self.asked = 0

    def waiting(self) -> bool:
        self.asked += 1
        return self.waits


class Child:
    """The parts that are looked at, and a clock."""

    def __init__(self) -> None:
        self.ear, self.inbox, self.holdings = Ear(), Inbox(4), Holdings()
        self.standstill = Standstill(self.ear, self.inbox, self.holdings)
        self.now = 100.0

    def look(self, times: int = 1) -> bool:
        """Looks so many times, as far apart as is needed."""
        found = False
        for _ in range(times):
            found = self.standstill.look(self.now)
            self.now += LOOK_S
        return found


@pytest.fixture
def child() -> Child:
    return Child()


def test_messages_that_wait_beside_an_idle_consumer_are_a_standstill(child: Child) -> None:
    assert not child.look(LOOKS - 1)
    assert child.look()


def test_a_consumer_that_takes_messages_is_none(child: Child) -> None:
    for _ in range(3 * LOOKS):
        child.ear.taken += 1
        assert not child.look()
    assert child.look(LOOKS)


def test_empty_queues_are_none_nor_is_a_consumer_that_is_still_connecting(child: Child) -> None:
    child.ear.waits = False
    assert not child.look(3 * LOOKS)
    child.ear.waits = True
    assert child.look(LOOKS)


def test_one_that_holds_renders_is_none(child: Child) -> None:
    child.holdings.add(CLAIMED)
    assert not child.look(3 * LOOKS)
    child.holdings.remove(1, 1)
    assert child.look(LOOKS)


def test_one_whose_inbox_is_not_empty_is_none(child: Child) -> None:
    child.inbox.offer(Message(((1, 1),)), Lane.BULK)
    assert not child.look(3 * LOOKS)
    child.inbox.clear()
    assert child.look(LOOKS)


def test_the_looks_must_follow_each_other(child: Child) -> None:
    assert not child.look(LOOKS - 1)
    child.ear.waits = False
    assert not child.look()
    child.ear.waits = True
    assert not child.look(LOOKS - 1)
    assert child.look()


def test_a_process_that_was_stopped_has_looked_once(child: Child) -> None:
    assert not child.look()
    child.now += 1000
    assert not child.look(LOOKS - 2)


def test_redis_is_not_asked_more_often_than_needed(child: Child) -> None:
    for tenth in range(100):
        child.standstill.look(tenth * LOOK_S / 10)
    assert child.ear.asked == 10
