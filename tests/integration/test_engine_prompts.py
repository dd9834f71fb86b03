"""Prompts that were encoded before: remembered, bit for bit what stock makes of them, and never another job's."""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING, Any

import pytest
import torch

from latentfarm.adapters import EmbeddingEntry, LoraEntry
from latentfarm.spec import RenderSpec
from latentfarm.states import Stage
from latentfarm.validation import complete
from tests.adapter_files import write_embedding, write_lora
from worker.engine.binding import bind
from worker.engine.model import load_model
from worker.engine.order import Order
from worker.engine.prompts import PromptMemory, encode

if TYPE_CHECKING:
    from pathlib import Path

    from latentfarm.registry import ModelEntry
    from tests.rig import MakeSpec
    from worker.engine.model import LoadedModel

STAGES = (Stage.BASE, Stage.REFINE)
ASKED: dict[str, dict[str, Any]] = {
    "zeros": {},
    "negative": {"negative_prompt": "a blue square"},
    "second prompts": {"prompt_2": "striped", "negative_prompt": "blue", "negative_prompt_2": "dotted"},
    "second negative alone": {"negative_prompt_2": "dotted"},
    "layers left out": {"clip_skip": 1, "negative_prompt": "a red circle"},
    "too long": {"prompt": "a red circle " * 40, "negative_prompt": "a blue square " * 40},
    "no guidance": {"guidance_scale": 1.0, "negative_prompt": "blue"},
}


def fresh(model: LoadedModel) -> LoadedModel:
    """The same weights, and nothing remembered."""
    return dataclasses.replace(model, prompts=PromptMemory())


def encoded(model: LoadedModel, spec: RenderSpec, stage: Stage = Stage.BASE) -> list[torch.Tensor]:
    order = Order(render_id=1, fence=1, stage=stage, spec=spec, seed=0, lane=spec.lane)
    pipe = bind(order, model)
    model.embeddings.teach(pipe, spec.embeddings, model.encoding)
    with torch.inference_mode():
        found = encode(pipe, model, spec, stage, guided=spec.guidance_scale != 1.0)
    return [tensor for tensor in found if tensor is not None]


def same(left: list[torch.Tensor], right: list[torch.Tensor]) -> bool:
    return len(left) == len(right) and all(map(torch.equal, left, right))


@pytest.mark.parametrize("stage", STAGES)
@pytest.mark.parametrize("name", ASKED)
def test_a_prompt_is_what_stock_makes_of_it(
    name: str, stage: Stage, make: MakeSpec, tiny: LoadedModel
) -> None:
    model, spec = fresh(tiny), make(**ASKED[name])
    with torch.inference_mode():
        stock = model.pipelines[stage].encode_prompt(
            prompt=spec.prompt,
            prompt_2=spec.prompt_2,
            negative_prompt=spec.negative_prompt,
            negative_prompt_2=spec.negative_prompt_2,
            do_classifier_free_guidance=spec.guidance_scale != 1.0,
            clip_skip=spec.clip_skip,
        )
    wanted = [tensor for tensor in stock if tensor is not None]
    first, again = encoded(model, spec, stage), encoded(model, spec, stage)
    assert same(first, wanted)
    assert same(again, wanted)


def test_images_of_a_job_and_jobs_with_one_negative_prompt_encode_it_once(
    make: MakeSpec, tiny: LoadedModel
) -> None:
    model = fresh(tiny)
    for prompt in ("a red circle", "a red circle", "a blue square"):
        encoded(model, make(prompt=prompt, negative_prompt="blurred"))
    assert model.prompts.encoded == 3


def test_layers_left_out_and_the_other_stage_are_another_text(make: MakeSpec, tiny: LoadedModel) -> None:
    model = fresh(tiny)
    first = encoded(model, make())
    assert not same(first, encoded(model, make(clip_skip=1)))
    assert not same(first, encoded(model, make(), Stage.REFINE))


def test_adapters_and_weights_are_not_mixed_up_with_plain_prompts(
    tiny_entry: ModelEntry, tiny: LoadedModel, tmp_path: Path
) -> None:
    base = tiny.pipelines[Stage.BASE]
    write_embedding(tmp_path / "mood.safetensors", base, 1)
    write_lora(tmp_path / "style.safetensors", base, 3)
    entry = tiny_entry.model_copy(
        update={
            "embeddings": {"mood": EmbeddingEntry(file=str(tmp_path / "mood.safetensors"))},
            "loras": {"style": LoraEntry(file=str(tmp_path / "style.safetensors"))},
        }
    )
    ways: list[dict[str, Any]] = [
        {},
        {"embeddings": ["mood"]},
        {"loras": [{"name": "style"}]},
        {"loras": [{"name": "style", "weight": 0.5}]},
        {"prompt_weighting": "compel"},
    ]
    given = {"prompt": "a (red)1.3 <mood> circle", "num_inference_steps": 5, "width": 64, "height": 64}
    specs = [complete(RenderSpec.model_validate({**given, **way}), entry) for way in ways]
    model = load_model(entry, [Stage.BASE])
    alone = [encoded(fresh(model), spec) for spec in specs]
    together = [encoded(model, spec) for spec in specs]
    for one, other in zip(alone, together, strict=True):
        assert same(one, other)
    for index, one in enumerate(together):
        assert not any(same(one, other) for other in together[:index])


def test_what_is_remembered_has_a_limit() -> None:
    memory, row = PromptMemory(limit=100), torch.zeros(10)  # 40 bytes
    for key in ("a", "b", "a", "c"):
        memory.of(key, lambda: (row, None))
    assert memory.encoded == 3
    memory.of("a", lambda: (row, None))
    assert memory.encoded == 3, "the one that was wanted last stays"
    memory.of("b", lambda: (row, None))
    assert memory.encoded == 4, "the oldest one had to go"
    memory.of("large", lambda: (torch.zeros(1000),))
    memory.of("large", lambda: (torch.zeros(1000),))
    assert memory.encoded == 5, "what is larger than all of it is kept until the next one"
