"""What a worker claims next: interactive first, suspects alone, never more than it may hold."""

from __future__ import annotations

import threading
from types import SimpleNamespace
from typing import TYPE_CHECKING, cast

import pytest
from hypothesis import given
from hypothesis import strategies as st

from latentfarm.messages import Message
from latentfarm.states import Lane
from worker.holdings import Holdings
from worker.inbox import CLAIM, Inbox, capacity_for

if TYPE_CHECKING:
    from collections.abc import Callable

    from latentfarm.messages import Pair
    from latentfarm.records import Claimed


def _offer(inbox: Inbox, count: int, lane: Lane = Lane.BULK, *, first: int = 1, alone: bool = False) -> None:
    for number in range(first, first + count):
        inbox.offer(Message(((number, 0),), alone=alone), lane)


def _numbers(taken: tuple[list[Pair], bool]) -> list[int]:
    return [render_id for render_id, _ in taken[0]]


@pytest.mark.parametrize(("buckets", "held"), [([8], 12), ([1], 2), ([], 2), ([8, 16], 24)])
def test_a_worker_holds_what_runs_what_is_next_and_what_goes_out(buckets: list[int], held: int) -> None:
    assert capacity_for(buckets) == held


def test_an_empty_inbox_gives_nothing() -> None:
    assert Inbox(8).take(0) == ([], False)


def test_hints_are_taken_in_the_order_of_their_messages() -> None:
    inbox = Inbox(4)
    _offer(inbox, 3)
    assert _numbers(inbox.take(0)) == [1, 2, 3]


def test_interactive_hints_overtake_bulk_ones() -> None:
    inbox = Inbox(8)
    _offer(inbox, 3, Lane.BULK)
    _offer(inbox, 2, Lane.INTERACTIVE, first=10)
    assert _numbers(inbox.take(0)) == [10, 11]
    assert _numbers(inbox.take(2)) == [1, 2, 3]


def test_interactive_hints_are_taken_while_bulk_ones_find_no_room() -> None:
    inbox = Inbox(4)
    _offer(inbox, 3, Lane.BULK)
    _offer(inbox, 2, Lane.INTERACTIVE, first=10)
    assert _numbers(inbox.take(4)) == [10, 11]
    assert inbox.take(6) == ([], False)


@given(
    capacity=st.integers(2, 64),
    held=st.integers(0, 300),
    bulk=st.integers(0, 40),
    interactive=st.integers(0, 40),
)
def test_never_more_than_there_is_room_for(capacity: int, held: int, bulk: int, interactive: int) -> None:
    inbox = Inbox(capacity)
    _offer(inbox, bulk, Lane.BULK)
    _offer(inbox, interactive, Lane.INTERACTIVE, first=1000)
    taken = _numbers(inbox.take(held))
    limit = 4 * capacity if taken and taken[0] >= 1000 else capacity
    assert len(taken) <= max(0, min(CLAIM, limit - held))
    assert bool(taken) == ((bulk > 0 and held < capacity) or (interactive > 0 and held < 4 * capacity))


def test_a_suspect_waits_until_nothing_is_held_and_lets_nothing_pass() -> None:
    inbox = Inbox(8)
    _offer(inbox, 2, Lane.INTERACTIVE, first=10)
    _offer(inbox, 2, alone=True)
    assert inbox.take(1) == ([], True)
    assert inbox.take(0) == ([(1, 0)], True)
    assert inbox.take(1) == ([], True)
    assert inbox.take(0) == ([(2, 0)], True)
    assert _numbers(inbox.take(0)) == [10, 11]


@pytest.mark.parametrize(
    ("waiting", "held", "wanted"), [(0, 0, True), (3, 0, True), (4, 0, False), (0, 16, False)]
)
def test_bulk_queues_are_left_alone_while_there_is_enough(*, waiting: int, held: int, wanted: bool) -> None:
    inbox = Inbox(8)
    _offer(inbox, waiting)
    assert inbox.wants_bulk(held) == wanted


def test_a_fast_worker_asks_for_more_before_it_has_used_up_all() -> None:
    inbox = Inbox(8)
    _offer(inbox, 30)
    for _ in range(2):
        inbox.take(0)
    # 16 in one look are 4 a look so far, so 12 are used up in three.
    assert not inbox.wants_bulk(8)
    inbox.take(0)
    assert inbox.wants_bulk(8)


def test_one_look_between_two_claims_does_not_make_a_worker_slow() -> None:
    inbox = Inbox(8)
    for _ in range(8):
        _offer(inbox, 8)
        inbox.take(0)
        inbox.wants_bulk(8)
    _offer(inbox, 8)
    assert inbox.wants_bulk(8)
    for _ in range(8):
        inbox.wants_bulk(8)
    assert not inbox.wants_bulk(8)


def test_as_many_are_claimed_at_once_as_there_is_room_for() -> None:
    inbox = Inbox(64)
    _offer(inbox, 100)
    assert _numbers(inbox.take(4)) == list(range(1, 61))


@pytest.mark.parametrize(
    ("waiting", "held", "taken"),
    [(20, 15, 0), (20, 13, 0), (20, 12, 4), (20, 0, 16), (2, 15, 0), (2, 14, 2), (1, 15, 1), (1, 16, 0)],
)
def test_bulk_hints_are_claimed_several_at_a_time(waiting: int, held: int, taken: int) -> None:
    inbox = Inbox(16)
    _offer(inbox, waiting)
    assert len(inbox.take(held)[0]) == taken


def test_a_worker_that_holds_few_claims_one_by_one() -> None:
    inbox = Inbox(3)
    _offer(inbox, 9)
    assert _numbers(inbox.take(2)) == [1]


def test_an_interactive_hint_waits_for_no_other() -> None:
    inbox = Inbox(16)
    _offer(inbox, 9, Lane.INTERACTIVE)
    assert _numbers(inbox.take(63)) == [1]


def test_whoever_waits_for_a_hint_that_finds_room_hears_of_both() -> None:
    holdings = Holdings()
    inbox = Inbox(2, holdings.changed)
    holdings.add(cast("Claimed", SimpleNamespace(render_id=1, fence=1)))
    heard: list[bool] = []

    def wait() -> None:
        with inbox.changed:
            ready.set()
            heard.append(inbox.changed.wait(20))

    acts: list[Callable[[], None]] = [lambda: _offer(inbox, 1), lambda: holdings.remove(1, 1)]
    for act in acts:
        ready = threading.Event()
        waiting = threading.Thread(target=wait)
        waiting.start()
        ready.wait()
        act()
        waiting.join()
    assert heard == [True, True]


def test_waiting_interactive_hints_do_not_stop_bulk() -> None:
    inbox = Inbox(8)
    _offer(inbox, 20, Lane.INTERACTIVE)
    assert inbox.wants_bulk(0)


def test_draining_forgets_every_hint() -> None:
    inbox = Inbox(8)
    _offer(inbox, 3, Lane.BULK)
    _offer(inbox, 3, Lane.INTERACTIVE)
    _offer(inbox, 1, alone=True)
    inbox.clear()
    assert inbox.take(0) == ([], False)


def test_suspects_that_others_have_taken_are_forgotten_and_let_the_rest_pass() -> None:
    inbox = Inbox(8)
    _offer(inbox, 3, alone=True)
    _offer(inbox, 1, first=10)
    assert inbox.alone() == [(1, 0), (2, 0), (3, 0)]
    inbox.forget({(1, 0), (3, 0)})
    assert inbox.alone() == [(2, 0)]
    inbox.forget({(2, 0), (7, 0)})
    assert _numbers(inbox.take(1)) == [10]
