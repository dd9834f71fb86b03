"""What the benchmarks of rendering ask for, and how they slow a worker down."""

from __future__ import annotations

import os
import time
from pathlib import Path
from typing import TYPE_CHECKING

from benchmarks.measuring.processor import spent_s
from benchmarks.rendering.slowed import slowed
from benchmarks.rendering.wanted import FRACTION, mixed, uniform
from latentfarm.noise import NoiseConfig
from latentfarm.registry import load_registry
from latentfarm.samplers import SAMPLERS
from latentfarm.spec import RenderSpec
from latentfarm.timesteps import evaluations
from latentfarm.validation import complete

if TYPE_CHECKING:
    import pytest

TINY = load_registry(Path(__file__).parents[2] / "models" / "models.toml").get("tiny")


def test_mixed_images_differ_in_all_that_may_share_a_batch() -> None:
    images = mixed(64)
    assert images == mixed(64)
    assert len({image.seed for image in images}) == 64
    for name in ("prompt", "negative_prompt", "steps", "guidance", "sampler"):
        assert len({getattr(image, name) for image in images}) >= 3, name
    assert len({(image.steps, image.guidance, image.sampler) for image in uniform(8)}) == 1


def test_the_farm_takes_each_of_them_and_both_stages_have_steps() -> None:
    for image in [*mixed(64), *uniform(8)]:
        spec = complete(RenderSpec.model_validate(image.spec("bulk")), TINY)
        assert spec.sampler in SAMPLERS
        assert spec.lane == "bulk"
        base, refiner = evaluations(spec.sampler, image.steps, config=NoiseConfig(), split=FRACTION)
        assert base >= 1
        assert refiner >= 1


def test_work_is_slowed_while_the_file_is_there(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    waits: list[float] = []
    monkeypatch.setattr(time, "sleep", waits.append)
    switch = tmp_path / "slow"
    double = slowed(lambda number: 2 * number, switch)
    assert double(4) == 8
    assert waits == []
    switch.write_text("50")
    assert double(4) == 8
    assert waits == [0.05]


def test_processor_time_is_that_of_processes_which_are_there() -> None:
    before, until = spent_s([os.getpid()]), time.process_time() + 0.05
    while time.process_time() < until:
        pass
    assert spent_s([os.getpid()]) - before >= 0.02
    assert spent_s([2**22 + 1]) == 0.0
