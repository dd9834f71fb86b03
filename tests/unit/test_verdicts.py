"""What is demanded of the effects that the judge measures, and how a farm's painter hands jobs in."""

from __future__ import annotations

import pytest

from benchmarks.equality.painter import together
from latentfarm.spec import RenderSpec
from training.verdicts import EFFECTS

#: Averages without and with a parameter: as tiny shows it, and as if the parameter were ignored.
SHOWN: dict[str, tuple[tuple[float, float], tuple[float, float]]] = {
    "object_by_prompt": ((0.04, 0.93), (0.04, 0.04)),
    "ideal_by_refiner": ((1.0, 0.83), (1.0, 1.0)),
    "style_by_second_prompt": ((0.24, 1.0), (0.24, 0.24)),
    "ground_by_negative_prompt": ((0.36, 0.08), (0.36, 0.36)),
    "shift_by_crop": ((30.2, 27.6), (0.0, 0.0)),
    "blur_by_original_size": ((0.3, 0.24), (0.3, 0.3)),
    "noise_by_aesthetic_score": ((2.5, 26.7), (2.5, 2.5)),
    "change_by_strength": ((0.0, 1.0), (0.0, 0.0)),
    "painted_inside_mask": ((1.0, 3.0), (1.0, 60.0)),
}


@pytest.mark.parametrize("name", EFFECTS)
def test_a_parameter_that_does_nothing_misses_a_bound(name: str) -> None:
    shown, ignored = SHOWN[name]
    assert all(bound["met"] for bound in EFFECTS[name].judge(*shown).values())
    assert not all(bound["met"] for bound in EFFECTS[name].judge(*ignored).values())


def test_neighbours_that_differ_by_the_next_seed_alone_are_one_job() -> None:
    asked = [("a", 1), ("a", 2), ("a", 3), ("a", 5), ("b", 6)]
    jobs = together([RenderSpec(prompt=prompt, seed=seed) for prompt, seed in asked])
    assert [(job.prompt, job.seed, job.num_images) for job in jobs] == [("a", 1, 3), ("a", 5, 1), ("b", 6, 1)]
    assert [(job.prompt, job.seed_of(i)) for job in jobs for i in range(job.num_images)] == asked
