"""The trainer: seeded, resumable, and whole from the first stage to the saved pair."""

import random
from pathlib import Path

import pytest
import torch
from torch import nn

from training.architecture import make_scheduler
from training.latents import Shelf, batches
from training.loop import Course, fit
from training.picture import random_plan
from training.pipelines import build, load_pair, save_pair
from training.train import parameters, train


def _fit_line(checkpoint: Path, steps: int, stop_after: int | None = None) -> list[float]:
    """Learn 3x with a tiny net; `stop_after` breaks off in the middle."""
    torch.manual_seed(0)
    line = nn.Linear(1, 1)

    def loss_of(batch: int, number: int) -> torch.Tensor:
        if number == stop_after:
            raise KeyboardInterrupt
        x = torch.rand((8, 1), generator=torch.Generator().manual_seed(batch))
        return nn.functional.mse_loss(line(x), 3 * x)

    course = Course(steps, rate=0.05, warm_up=10, average=0.9)
    fit(nn.ModuleDict({"line": line}), course, iter, loss_of, checkpoint)
    return [parameter.item() for parameter in line.parameters()]


def test_training_learns(tmp_path):
    slope, offset = _fit_line(tmp_path / "a.safetensors", 400)
    assert slope == pytest.approx(3, abs=0.1)
    assert offset == pytest.approx(0, abs=0.1)


def test_a_run_that_was_killed_goes_on_to_the_same_weights(tmp_path):
    whole = _fit_line(tmp_path / "whole.safetensors", 500)
    with pytest.raises(KeyboardInterrupt):
        _fit_line(tmp_path / "broken.safetensors", 500, stop_after=317)
    assert (tmp_path / "broken.safetensors").exists()
    assert _fit_line(tmp_path / "broken.safetensors", 500) == whole


def test_the_learning_rate_warms_up_and_decays():
    course = Course(1000, rate=1.0, warm_up=100)
    rates = [course.rate_at(step) for step in (0, 49, 99, 100, 550, 999)]
    assert rates[0] == pytest.approx(0.01)
    assert rates[1] == pytest.approx(0.5)
    assert rates[2] == rates[3] == 1.0
    assert rates[4] == pytest.approx(0.505, abs=0.01)
    assert rates[5] == pytest.approx(0.01, abs=0.001)


def test_batches_depend_on_their_number_alone():
    plans = [random_plan(random.Random(number)) for number in range(40)]
    shelves = [Shelf(plans, torch.arange(40.0)[:, None, None, None].expand(40, 4, 16, 16))]
    later = list(batches(shelves, 1, range(4)))[3]
    again = next(batches(shelves, 1, range(3, 9)))
    assert again[0] == later[0]
    assert torch.equal(again[1], later[1])
    assert [plans[int(latents[0, 0, 0])] for latents in later[1]] == later[0]


def test_the_same_seed_builds_the_same_pair_and_another_does_not(tmp_path):
    one, two, other = build(0), build(0), build(1)
    for part in parameters(one):
        first, second, third = (list(getattr(pair, part).parameters()) for pair in (one, two, other))
        assert all(torch.equal(a, b) for a, b in zip(first, second, strict=True))
        assert not all(torch.equal(a, b) for a, b in zip(first, third, strict=True))
    save_pair(one, tmp_path)
    loaded = load_pair(tmp_path)
    assert torch.equal(loaded.base.conv_in.weight, one.base.conv_in.weight)


def test_the_training_schedule_is_the_samplers():
    alphas = make_scheduler().alphas_cumprod
    assert alphas[0].item() == pytest.approx(1 - 0.00085)
    assert alphas[-1].item() == pytest.approx(0.0047, abs=0.0003)


@pytest.mark.long
def test_the_whole_way_from_nothing_to_a_pair(tmp_path):
    torch.set_num_threads(1)
    report = train(3, tmp_path / "pair", tmp_path / "work", shorten=400)
    assert report["vae"]["loss"] > 0
    pair = load_pair(tmp_path / "pair")
    assert pair.vae.config.scaling_factor == report["vae"]["scaling_factor"]
    again = train(3, tmp_path / "again", tmp_path / "work_again", shorten=400)
    assert again["base"] == report["base"]
    assert again["refiner"] == report["refiner"]
