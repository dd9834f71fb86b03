"""The parts of `python -m benchmarks gpu` that need no GPU."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

import pytest
import torch

from benchmarks.card.arms import check
from benchmarks.card.clock import watched
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
    assert (read.speed.compile, read.speed.fused_projections) == ("regional", True)


def test_what_a_card_is_busy_with_is_timed_and_nothing_stays_behind(tiny: LoadedModel) -> None:
    vae = tiny.pipelines[Stage.BASE].vae
    before = vae.decode
    with watched(tiny) as clock:
        started = time.perf_counter()
        with torch.inference_mode():
            vae.decode(torch.zeros(1, 4, 8, 8))
        took = time.perf_counter() - started
    assert 0 < clock.seconds("vae") <= took
    assert clock.seconds("unet") == 0
    assert vae.decode == before


@pytest.mark.skipif(torch.cuda.is_available(), reason="it would run for minutes")
def test_without_a_card_it_says_so(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--json"]) == 0
    assert '"needs": "a CUDA device"' in capsys.readouterr().out
