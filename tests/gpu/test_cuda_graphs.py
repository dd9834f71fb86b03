"""A recorded forward gives the bits of one that is launched kernel by kernel."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch

from latentfarm.registry import ModelEntry
from latentfarm.spec import RenderSpec
from latentfarm.states import Stage
from latentfarm.validation import complete
from tests.gpu.full_size import load_full_size
from tests.rig import Rig
from worker.engine.warmup import warm_up
from worker.warming import orders_of

pytestmark = [
    pytest.mark.gpu,
    pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device"),
]
TOKENIZERS = Path(__file__).parents[2] / "models" / "tiny" / "base"
ENTRY = ModelEntry(name="tiny", base="/nowhere", native_size=(512, 512), bucket=8)


def pictures(model: Any, *specs: RenderSpec) -> list[torch.Tensor]:
    with Rig(model) as rig:
        return [picture.pixels for picture in rig.pictures([(spec, n) for n, spec in enumerate(specs)])]


def test_graphs_change_no_bit_and_need_no_size_that_is_warm() -> None:
    model = load_full_size(TOKENIZERS, torch.bfloat16, ENTRY.bucket)
    given = {"prompt": "a red circle", "num_inference_steps": 4, "reproducible": True}
    warm, other = (
        complete(RenderSpec.model_validate({**given, "height": side, "width": side}), ENTRY)
        for side in (512, 576)
    )
    plain = pictures(model, warm, warm, warm, other)
    warm_up(model, orders_of(ENTRY, [Stage.BASE]), record=True)
    assert len(model.graphs) > 0
    recorded = pictures(model, warm, warm, warm, other)
    replays = model.graphs.replays
    assert replays > 0
    pictures(model, other)
    assert model.graphs.replays == replays, "a size that is not warm"
    for one, same in zip(plain, recorded, strict=True):
        assert torch.equal(one, same)
