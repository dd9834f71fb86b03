"""Each of SDXL's parameters does to the tiny pair what it does to SDXL, over 50 seeds."""

from pathlib import Path

import pytest
import torch

from training.studio import Studio, open_studio
from training.verdicts import EFFECTS, measured

SEEDS = range(100, 150)
ELSEWHERE = {"object_by_prompt", "ideal_by_refiner"}  # test_tiny_pair asks more of them


@pytest.fixture(scope="module")
def studio() -> Studio:
    torch.set_num_threads(1)
    return open_studio(Path("models/tiny"))


@pytest.mark.long
@pytest.mark.parametrize("name", [name for name in EFFECTS if name not in ELSEWHERE])
def test_stock_pipelines_show_the_effect(studio: Studio, name: str) -> None:
    _, bounds = measured(studio, name, SEEDS)
    assert all(bound["met"] for bound in bounds.values()), bounds
