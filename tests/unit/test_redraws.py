"""Further seeds of an image are those of no other image of its run."""

from __future__ import annotations

from itertools import pairwise

import pytest

from latentfarm.redraws import MOST_REDRAWS, SEED_STEP, next_seed
from latentfarm.spec import SEED_RANGE

LONGEST = 2**40


def _seeds(seed: int) -> list[int]:
    found = [seed]
    for _ in range(MOST_REDRAWS):
        found.append(next_seed(found[-1]))
    return found


@pytest.mark.parametrize("seed", [0, 7, SEED_STEP - 1, SEED_RANGE - 1, SEED_RANGE - SEED_STEP])
def test_the_kth_seed_is_the_first_and_k_steps(seed: int) -> None:
    assert _seeds(seed) == [(seed + k * 2**48) % 2**53 for k in range(4)]


@pytest.mark.parametrize("run", [0, 12345, SEED_RANGE - 1, SEED_RANGE - LONGEST // 2])
def test_no_two_images_of_the_longest_run_meet(run: int) -> None:
    """Each try of a run takes an arc of the circle of seeds; the arcs lie apart."""
    starts = sorted(_seeds(run))
    gaps = [after - before for before, after in pairwise(starts)]
    gaps.append(starts[0] + SEED_RANGE - starts[-1])
    assert min(gaps) >= LONGEST
