"""The parts of `python -m benchmarks gpu` that need no GPU."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
import torch

from benchmarks.card.arms import check
from benchmarks.card.clock import Busy, _covered, decode_s
from benchmarks.card.weights import NETWORKS, stock_pipeline
from benchmarks.card.whole import _registry
from benchmarks.gpu import _entry, _options, main
from latentfarm.registry import load_registry
from latentfarm.states import Stage

if TYPE_CHECKING:
    from pathlib import Path

    from worker.engine.model import LoadedModel


def test_stock_gets_the_same_numbers_and_networks_of_its_own(tiny: LoadedModel) -> None:
    own, stock = tiny.pipelines[Stage.BASE], stock_pipeline(tiny, torch.float64)
    for name in NETWORKS:
        ours, theirs = getattr(own, name), getattr(stock, name)
        assert ours is not theirs
        assert next(theirs.parameters()).dtype is torch.float64
        for one, other in zip(ours.parameters(), theirs.parameters(), strict=True):
            assert torch.equal(one.double(), other)


def test_a_picture_of_one_colour_ends_the_benchmark() -> None:
    with pytest.raises(RuntimeError, match="one colour"):
        check(torch.full((8, 8, 3), 7, dtype=torch.uint8))
    check(torch.arange(192, dtype=torch.uint8).reshape(8, 8, 3))


def test_the_entry_of_a_farm_says_what_the_one_of_the_engine_says(tmp_path: Path) -> None:
    entry = _entry(_options(["--size", "512", "--batch", "3"]))
    path = tmp_path / "models.toml"
    path.write_text(_registry(entry, tmp_path))
    read = load_registry(path).get("card")
    for name in ("dtype", "bucket", "native_size", "min_size"):
        assert getattr(read, name) == getattr(entry, name)
    assert read.speed.model_dump(exclude={"warm_sizes"}) == entry.speed.model_dump(exclude={"warm_sizes"})


def test_time_in_which_two_kernels_ran_counts_once() -> None:
    assert _covered([(0, 10), (2, 4), (8, 15), (20, 25), (20, 21)]) == 20
    assert Busy(wall=25.0, kernels=20.0).idle == pytest.approx(0.2)


def test_a_decode_is_timed(tiny: LoadedModel) -> None:
    assert 0 < decode_s(tiny, torch.zeros(1, 4, 8, 8)) < 60


@pytest.mark.skipif(torch.cuda.is_available(), reason="it would run for minutes")
def test_without_a_card_it_says_so(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--json"]) == 0
    assert '"needs": "a CUDA device"' in capsys.readouterr().out
