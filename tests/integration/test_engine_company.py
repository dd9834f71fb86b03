"""Prompts that are read together are what each would be by itself, but for rounding; some are never read together."""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING, Any

import pytest
import torch

from latentfarm.adapters import LoraUse
from latentfarm.states import Lane, Stage
from worker.engine.binding import bind
from worker.engine.company import TOGETHER, read_together
from worker.engine.order import Order
from worker.engine.prompts import PromptMemory, encode

if TYPE_CHECKING:
    from latentfarm.spec import RenderSpec
    from tests.rig import MakeSpec
    from worker.engine.model import LoadedModel

STAGES = (Stage.BASE, Stage.REFINE)
PROMPTS = ("a red circle", "a blue square", "a green cross " * 40)


def order_of(spec: RenderSpec, stage: Stage = Stage.BASE) -> Order:
    return Order(render_id=1, fence=1, stage=stage, spec=spec, seed=0, lane=Lane.BULK)


def fresh(model: LoadedModel) -> LoadedModel:
    return dataclasses.replace(model, prompts=PromptMemory())


def together(model: LoadedModel, specs: list[RenderSpec], stage: Stage = Stage.BASE) -> None:
    with torch.inference_mode():
        read_together(model, [order_of(spec, stage) for spec in specs])


def encoded(model: LoadedModel, spec: RenderSpec, stage: Stage = Stage.BASE) -> list[torch.Tensor]:
    pipe = bind(order_of(spec, stage), model)
    model.embeddings.teach(pipe, spec.embeddings, model.encoding)
    with torch.inference_mode():
        found = encode(pipe, model, spec, stage, guided=True)
    return [tensor for tensor in found if tensor is not None]


@pytest.mark.parametrize("stage", STAGES)
@pytest.mark.parametrize(
    "more", [{}, {"prompt_2": "striped"}, {"clip_skip": 1}], ids=["plain", "second", "skip"]
)
def test_each_is_what_it_would_be_by_itself(
    more: dict[str, Any], stage: Stage, make: MakeSpec, tiny: LoadedModel
) -> None:
    model, specs = fresh(tiny), [make(prompt=prompt, **more) for prompt in PROMPTS]
    together(model, specs, stage)
    assert model.prompts.encoded == len(PROMPTS)
    for spec in specs:
        for one, alone in zip(encoded(model, spec, stage), encoded(fresh(tiny), spec, stage), strict=True):
            torch.testing.assert_close(one, alone, rtol=1e-4, atol=1e-4)
            assert one.shape == alone.shape
    negatives = 0 if model.pipelines[stage].config.force_zeros_for_empty_prompt else 1
    assert model.prompts.encoded == len(PROMPTS) + negatives, "no prompt was read twice"


def test_the_reproducible_are_read_alone_and_never_take_what_was_read_in_company(
    make: MakeSpec, tiny: LoadedModel
) -> None:
    model = fresh(tiny)
    together(model, [make(prompt=prompt) for prompt in PROMPTS])
    kept = [make(prompt=prompt, reproducible=True) for prompt in PROMPTS]
    together(model, kept)
    assert model.prompts.encoded == len(PROMPTS)
    for spec in kept:
        alone = encoded(fresh(tiny), spec)
        assert all(map(torch.equal, encoded(model, spec), alone))
    assert model.prompts.encoded >= 2 * len(PROMPTS)


@pytest.mark.parametrize(
    "other",
    [
        {"clip_skip": 1},
        {"reproducible": True},
        {"prompt_weighting": "compel"},
        {"embeddings": ("dots",)},
        {"loras": (LoraUse(name="dots"),)},
        {"prompt": PROMPTS[0]},  # it is the first one's
    ],
    ids=lambda other: next(iter(other)),
)
def test_nothing_is_read_ahead_for_one_that_has_no_mate(
    other: dict[str, Any], make: MakeSpec, tiny: LoadedModel
) -> None:
    model = fresh(tiny)
    first, second = make(prompt=PROMPTS[0]), make(prompt=PROMPTS[1]).model_copy(update=other)
    together(model, [first, second])
    together(model, [second, first])
    together(model, [first])
    assert model.prompts.encoded == 0


def test_interactive_orders_wait_for_nobodys_prompt(make: MakeSpec, tiny: LoadedModel) -> None:
    model = fresh(tiny)
    orders = [dataclasses.replace(order_of(make(prompt=prompt)), lane=Lane.INTERACTIVE) for prompt in PROMPTS]
    read_together(model, orders)
    assert model.prompts.encoded == 0


def test_a_bucket_of_one_reads_as_stock_does(make: MakeSpec, tiny: LoadedModel) -> None:
    model = dataclasses.replace(fresh(tiny), bucket=1)
    together(model, [make(prompt=prompt) for prompt in PROMPTS])
    assert model.prompts.encoded == 0


def test_one_that_reads_alone_does_not_wait_for_others(make: MakeSpec, tiny: LoadedModel) -> None:
    model = fresh(tiny)
    together(model, [make(prompt="a", reproducible=True), *(make(prompt=prompt) for prompt in PROMPTS)])
    assert model.prompts.encoded == 0


def test_each_prompt_is_kept_by_itself(make: MakeSpec, tiny: LoadedModel) -> None:
    """A slice of what was read together would keep all of it."""
    model, specs = fresh(tiny), [make(prompt=prompt) for prompt in PROMPTS]
    together(model, specs)
    embeds, *_ = encoded(model, specs[0])
    assert embeds.untyped_storage().nbytes() == embeds.nbytes


def test_what_the_first_needs_is_there_already(make: MakeSpec, tiny: LoadedModel) -> None:
    model, specs = fresh(tiny), [make(prompt=prompt) for prompt in PROMPTS]
    encoded(model, specs[0])
    before = model.prompts.encoded
    together(model, specs)
    assert model.prompts.encoded == before, "the others' turn comes"


def test_an_encoder_that_fails_for_all_is_asked_for_each(
    make: MakeSpec, tiny: LoadedModel, monkeypatch: pytest.MonkeyPatch
) -> None:
    model, encoder = fresh(tiny), tiny.pipelines[Stage.BASE].text_encoder
    forward = encoder.forward

    def narrow(ids: torch.Tensor, *given: Any, **named: Any) -> Any:
        if len(ids) > 1:
            raise RuntimeError("too many")
        return forward(ids, *given, **named)

    monkeypatch.setattr(encoder, "forward", narrow)
    specs = [make(prompt=prompt) for prompt in PROMPTS]
    together(model, specs)
    assert model.prompts.encoded == 0
    encoded(model, specs[0])


def test_so_many_are_let_in_at_once(make: MakeSpec, tiny: LoadedModel) -> None:
    from tests.rig import Rig

    model = fresh(tiny)
    specs = [make(prompt=f"a red circle {number}", num_inference_steps=2) for number in range(TOGETHER)]
    sizes: list[int] = []
    encoder = model.pipelines[Stage.BASE].text_encoder
    hook = encoder.register_forward_pre_hook(
        lambda _, given, named: sizes.append(len((given or (named["input_ids"],))[0])), with_kwargs=True
    )
    try:
        with Rig(model) as rig:
            rig.pictures([(spec, 0) for spec in specs])
    finally:
        hook.remove()
    assert max(sizes) > 1, "some were read together"
    assert sum(sizes) <= TOGETHER + 1, "and none twice, a negative prompt aside"
