"""What users are told of a render that failed."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from latentfarm.evidence import Mishap
from latentfarm.story import MOST, WORKERS, tell

NAN = Mishap(7, "cuda:0", "non_finite", "NaN after 4 steps")
MEMORY = Mishap(9, "cuda:1", "memory", "none left")
LOST = Mishap(3, "cuda:0", None, "exited with -9")


def test_one_worker_needs_no_name() -> None:
    assert tell([NAN]) == "non_finite: NaN after 4 steps"


def test_each_worker_tells_its_own_story() -> None:
    assert tell([NAN, MEMORY]) == (
        "failed on 2 workers: cuda:0 of worker 7: non_finite: NaN after 4 steps; cuda:1 of worker 9: memory: none left"
    )


def test_deaths_that_nobody_was_charged_for_are_told_where_there_is_nothing_else() -> None:
    assert tell([LOST, NAN]) == tell([NAN])
    assert tell([LOST]) == "lost: exited with -9"
    assert "cuda:0 of worker 3: lost" in str(tell([LOST, LOST]))


def test_of_many_workers_the_last_ones_are_quoted() -> None:
    told = str(tell([Mishap(number, "cpu", "defect", "x") for number in range(6)]))
    assert told.startswith("failed on 6 workers, 2 of them earlier: cpu of worker 2: ")
    assert told.count(" of worker ") == WORKERS


def test_nothing_is_told_of_nothing() -> None:
    assert tell([]) is None


mishaps = st.builds(
    Mishap,
    st.integers(1, 10**12),
    st.integers(0, 20).map(lambda length: "d" * length),
    st.sampled_from([None, "poison", "non_finite"]),
    st.integers(0, 2000).map(lambda length: "x" * length),
)


@given(st.lists(mishaps, min_size=1, max_size=8))
def test_it_is_never_longer_than_an_answer_has_room_for(found: list[Mishap]) -> None:
    assert len(str(tell(found))) <= MOST
