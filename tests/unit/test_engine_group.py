"""Who goes through the next forward, and how many rows it has."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any, cast

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from latentfarm.states import Lane
from worker.engine.forward import shape_of
from worker.engine.group import COURTESY, DEFERENCE, PATIENCE, Group, choose, note_skipped
from worker.engine.seating import seat_of

if TYPE_CHECKING:
    from worker.engine.sample import Sample

CPU, CUDA = torch.device("cpu"), torch.device("cuda")


@dataclass(eq=False)
class Stub:
    """What `choose` reads of a sample."""

    arrival: int
    rows: int = 2
    key: str = "square"
    lane: Lane = Lane.BULK
    reproducible: bool = False
    skipped: int = 0
    seed: int = 0
    mark: int = 0
    order: Any = field(init=False)

    def __post_init__(self) -> None:
        self.order = SimpleNamespace(lane=self.lane, seed=self.seed)


def pick(stubs: list[Stub], limit: int = 8) -> list[int]:
    group = choose(cast("list[Sample]", stubs), lambda _: limit)
    return [sample.arrival for sample in group.samples]


def test_the_oldest_lead_and_fill_the_forward() -> None:
    assert pick([Stub(arrival) for arrival in (5, 3, 1, 4, 2)]) == [1, 2, 3, 4]


def test_only_samples_of_one_key_share_a_forward() -> None:
    assert pick([Stub(1, key="wide"), Stub(2), Stub(3, key="wide")]) == [1, 3]


def test_interactive_samples_come_first_whatever_their_shape() -> None:
    bulk = [Stub(arrival) for arrival in range(10)]
    assert pick([*bulk, Stub(11, lane=Lane.INTERACTIVE, key="wide")]) == [11]
    assert pick([*bulk, Stub(11, lane=Lane.INTERACTIVE)]) == [11, 0, 1, 2]


def test_those_that_fill_a_forward_go_before_older_ones_that_do_not() -> None:
    full = [Stub(arrival) for arrival in range(5, 9)]
    older = [Stub(arrival, key="wide") for arrival in range(3)]
    assert pick([*older, *full]) == [5, 6, 7, 8]
    assert pick([*older, *full[:3]]) == [0, 1, 2], "nobody does"
    assert pick([*older, Stub(3, key="wide"), *full]) == [0, 1, 2, 3], "both do"
    assert pick([*full, Stub(1, key="wide", lane=Lane.INTERACTIVE)]) == [1], "an interactive one need not"


def test_deference_ends_sooner_than_patience() -> None:
    few, crowd = [Stub(0, key="wide"), Stub(1, key="wide")], [Stub(arrival) for arrival in range(2, 8)]
    everybody = cast("list[Sample]", [*few, *crowd])
    turns = []
    for _ in range(3 * (DEFERENCE + 1)):
        group = choose(everybody, lambda _: 8)
        note_skipped(everybody, group)
        turns.append([sample.arrival for sample in group.samples] == [0, 1])
    assert turns == 3 * [*DEFERENCE * [False], True]


def test_an_unguided_sample_takes_the_row_that_is_left() -> None:
    assert pick([Stub(1, rows=1), Stub(2), Stub(3), Stub(4), Stub(5, rows=1)]) == [1, 2, 3, 4, 5]


def test_a_bucket_of_one_takes_one_sample() -> None:
    assert pick([Stub(2), Stub(1)], limit=1) == [1]


def test_a_guided_sample_runs_even_where_the_limit_is_too_small_for_it() -> None:
    assert pick([Stub(1, rows=2)], limit=1) == [1]


def test_patience_ends() -> None:
    crowd = [Stub(arrival, lane=Lane.INTERACTIVE) for arrival in range(4)]
    rare = Stub(9, key="wide")
    turns = 0
    while True:
        group = choose(cast("list[Sample]", [*crowd, rare]), lambda _: 8)
        note_skipped(cast("list[Sample]", [*crowd, rare]), group)
        if cast("Sample", rare) in group.samples:
            break
        turns += 1
    assert turns == PATIENCE
    assert rare.skipped == 0


def test_a_crowd_on_one_seat_leaves_interactive_samples_their_turns() -> None:
    """Doubles pass each other over for ever; an interactive one of another shape still gets on."""
    crowd = [Stub(arrival, reproducible=True, seed=7) for arrival in range(40)]
    hurried = Stub(99, lane=Lane.INTERACTIVE, key="wide")
    everybody = cast("list[Sample]", [*crowd, hurried])
    led, since = [], COURTESY
    for _ in range(20 * COURTESY + PATIENCE):
        group = choose(everybody, lambda _: 8, since_patient=since)
        since = 1 if group.patient else since + 1
        note_skipped(everybody, group)
        led.append(cast("Sample", hurried) in group.samples)
    late = led[PATIENCE:]
    assert late.count(False) == len(late) // COURTESY
    assert max(crowd, key=lambda stub: stub.skipped).skipped > PATIENCE
    assert all(any(late[turn : turn + COURTESY]) for turn in range(len(late) - COURTESY))


def test_without_interactive_samples_patience_has_no_bound() -> None:
    waiting = Stub(9, key="wide", skipped=PATIENCE)
    group = choose(cast("list[Sample]", [Stub(1), waiting]), lambda _: 8, since_patient=0)
    assert group.samples == [cast("Sample", waiting)]
    assert not group.patient


@given(
    st.lists(
        st.tuples(st.integers(1, 2), st.sampled_from("ab"), st.sampled_from(Lane)), min_size=1, max_size=20
    ),
    st.integers(1, 16),
)
def test_a_group_never_overflows_and_leaves_no_room_unused(
    wishes: list[tuple[int, str, Lane]], limit: int
) -> None:
    stubs = [Stub(i, rows=rows, key=key, lane=lane) for i, (rows, key, lane) in enumerate(wishes)]
    group = choose(cast("list[Sample]", stubs), lambda _: limit)
    assert group.samples
    assert len({sample.key for sample in group.samples}) == 1
    assert group.rows <= max(limit, group.samples[0].rows)
    key = str(group.samples[0].key)
    left = [s for s in stubs if s.key == key and cast("Sample", s) not in group.samples]
    if limit > 1:
        assert all(group.rows + sample.rows > limit for sample in left)


def test_reproducible_samples_sit_where_spec_and_seed_say() -> None:
    stubs = [Stub(i, seed=seed, reproducible=True) for i, seed in enumerate((4, 5, 4, 6, 7))]
    group = choose(cast("list[Sample]", stubs), lambda _: 8)
    # The third is the first's double, wants its rows, and waits.
    assert [sample.arrival for sample in group.samples] == [0, 1, 3, 4]
    assert sorted(group.places) == [(0, 1), (2, 3), (4, 5), (6, 7)]
    assert group.places == [seat_of(cast("Sample", stubs[index]), 8) for index in (0, 1, 3, 4)]


@pytest.mark.parametrize(
    "stubs",
    [
        [Stub(0, seed=seed, mark=99) for seed in range(0, 400, 4)],
        [Stub(0, seed=7, mark=mark) for mark in range(100)],
        [Stub(0, seed=seed, rows=1, mark=5) for seed in range(0, 800, 8)],
    ],
    ids=["one remainder", "one seed, many specs", "unguided"],
)
def test_no_habit_of_seeds_puts_all_on_one_seat(stubs: list[Stub]) -> None:
    taken = Counter(seat_of(cast("Sample", stub), 8) for stub in stubs)
    assert len(taken) == 8 // stubs[0].rows
    assert max(taken.values()) < 2 * len(stubs) / len(taken)


def test_others_take_the_rows_that_are_left() -> None:
    stubs = [Stub(0), Stub(1, seed=0, reproducible=True), Stub(2, rows=1), Stub(3, rows=1)]
    group = choose(cast("list[Sample]", stubs), lambda _: 8)
    own = seat_of(cast("Sample", stubs[1]), 8)
    left = [row for row in range(8) if row not in own]
    assert group.places == [(left[0], left[1]), own, (left[2],), (left[3],)]


WISH = st.tuples(st.integers(1, 2), st.booleans(), st.integers(0, 2**53 - 1))


@given(st.lists(WISH, min_size=1, max_size=20), st.integers(2, 16))
def test_a_seat_follows_from_the_sample_alone(wishes: list[tuple[int, bool, int]], limit: int) -> None:
    stubs = [
        Stub(i, rows=rows, reproducible=fixed, seed=seed) for i, (rows, fixed, seed) in enumerate(wishes)
    ]
    group = choose(cast("list[Sample]", stubs), lambda _: limit)
    assert group.samples[0].arrival == 0, "the leader is always in"
    taken = [row for place in group.places for row in place]
    assert len(set(taken)) == len(taken) == group.rows
    assert set(taken) <= set(range(limit))
    for sample, place in zip(group.samples, group.places, strict=True):
        assert len(place) == sample.rows
        if sample.reproducible:
            alone = choose([sample], lambda _: limit)
            assert alone.places == [place]


@pytest.mark.parametrize(
    ("rows", "limit", "reproducible", "device", "shape"),
    [
        ([2], 8, False, CPU, 2),
        ([2, 1], 8, False, CPU, 3),
        ([2], 8, True, CPU, 8),
        ([2, 1], 8, True, CUDA, 8),
        ([2, 1], 8, False, CUDA, 4),
        ([2, 2, 1], 6, False, CUDA, 6),
        ([1], 8, False, CUDA, 1),
        ([2], 1, True, CUDA, 2),
        ([1], 1, True, CPU, 1),
        ([2], 1, False, CUDA, 2),
    ],
)
def test_shapes(rows: list[int], limit: int, reproducible: bool, device: torch.device, shape: int) -> None:
    stubs = [Stub(i, rows=count) for i, count in enumerate(rows)]
    stubs[-1].reproducible = reproducible
    assert shape_of(Group(cast("list[Sample]", stubs), limit, len(stubs), []), device) == shape


def test_with_a_compiler_a_gpu_has_two_rows_at_least() -> None:
    one = Group(cast("list[Sample]", [Stub(0, rows=1)]), 8, 1, [])
    assert shape_of(one, CUDA, least=2) == 2
    assert shape_of(one, CPU, least=2) == 1
