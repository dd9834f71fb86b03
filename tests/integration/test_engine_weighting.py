"""Prompts with weights: stock's picture for compel's embeddings, in every stage; alone as in a crowd."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
import torch
from compel import Compel, CompelForSDXL, DiffusersTextualInversionManager, ReturnedEmbeddingsType

from latentfarm.adapters import EmbeddingEntry, LoraEntry
from latentfarm.mode_rules import fit_pictures
from latentfarm.spec import RenderSpec
from latentfarm.states import Stage
from latentfarm.validation import complete
from tests.adapter_files import write_embedding, write_lora
from tests.drawing import drawn_mask, drawn_picture
from tests.integration.test_engine_embeddings import stock_pipelines
from tests.rig import Rig, largest_difference, with_bucket
from tests.stock_modes import stock_picture
from worker.engine.model import load_model
from worker.engine.order import Inputs

if TYPE_CHECKING:
    from collections.abc import Iterator

    from latentfarm.registry import ModelEntry
    from worker.engine.model import LoadedModel

SEED = 9
NAME = "sha256:" + "0" * 64
COMPEL = "compel"
LONG = "a large red++ circle on a (dark)0.6 ground, " * 9
WORDS: dict[str, dict[str, Any]] = {
    "up": {"prompt": "a large red++ circle"},
    "up and down": {"prompt": "a (large)1.4 circle, (red)0.3, blue--", "negative_prompt": "green+ (dark)0.5"},
    "gone": {"prompt": "a red circle, (blue square)0"},
    "second prompts": {
        "prompt": "a red++ circle",
        "prompt_2": "a (blue)1.5 square",
        "negative_prompt": "dark",
        "negative_prompt_2": "light--",
    },
    "long": {"prompt": LONG, "negative_prompt": "green"},
    "long, zeros beside it": {"prompt": LONG},
    "long in one encoder": {"prompt": "a circle", "prompt_2": LONG, "negative_prompt": ""},
    "long against": {"prompt": "a circle", "negative_prompt": LONG},
    "and": {"prompt": '("a red circle", "a blue+ square").and()', "negative_prompt": "dark"},
    "blend": {"prompt": '("a red circle", "a blue square").blend(0.7, 0.3)'},
    "not guided": {"prompt": "a large red++ circle", "guidance_scale": 1.0},
}
STAGES: dict[str, dict[str, Any]] = {
    "base": {},
    "ensemble": {"refiner": {"mode": "ensemble", "high_noise_frac": 0.5}},
    "refiner on the image": {"refiner": {"mode": "image", "strength": 0.6}},
    "image to image": {"image": NAME, "strength": 0.7},
    "inpainting and refiner": {"image": NAME, "mask_image": NAME, "refiner": {"high_noise_frac": 0.4}},
}
#: An ensemble has a base stage too: alone it need not be looked at every time.
CASES = [
    *((words, "ensemble") for words in WORDS),
    *(("up and down", stage) for stage in STAGES if stage != "ensemble"),
    *(("long", stage) for stage in ("refiner on the image", "image to image")),
    *(pytest.param(words, "base", marks=pytest.mark.long) for words in WORDS),
]


def embeddings(pipeline: Any, given: RenderSpec) -> dict[str, Any]:
    """As compel's guide does it for a base; and for a refiner what its author says in the tracker."""
    rows = DiffusersTextualInversionManager(pipeline) if given.embeddings else None
    if pipeline.text_encoder is not None:
        found = CompelForSDXL(pipeline, textual_inversion_manager=rows)(
            given.prompt,
            style_prompt=given.prompt_2,
            negative_prompt=given.negative_prompt,
            negative_style_prompt=given.negative_prompt_2,
        )
        named = {
            "prompt_embeds": found.embeds,
            "pooled_prompt_embeds": found.pooled_embeds,
            "negative_prompt_embeds": found.negative_embeds,
            "negative_pooled_prompt_embeds": found.negative_pooled_embeds,
        }
        return {name: tensor for name, tensor in named.items() if tensor is not None}
    embeds, pooled = Compel(
        tokenizer=pipeline.tokenizer_2,
        text_encoder=pipeline.text_encoder_2,
        returned_embeddings_type=ReturnedEmbeddingsType.PENULTIMATE_HIDDEN_STATES_NON_NORMALIZED,
        requires_pooled=True,
        truncate_long_prompts=False,
    )([given.prompt, given.negative_prompt or ""])
    return {
        "prompt_embeds": embeds[:1],
        "negative_prompt_embeds": embeds[1:],
        "pooled_prompt_embeds": pooled[:1],
        "negative_pooled_prompt_embeds": pooled[1:],
    }


def given_of(**fields: Any) -> RenderSpec:
    common = {"prompt_weighting": COMPEL, "num_inference_steps": 6}
    if "mask_image" in fields or "image" not in fields:
        common |= {"width": 64, "height": 64}
    return RenderSpec.model_validate({**common, **fields})


def inputs_of(given: RenderSpec) -> Inputs | None:
    if given.image is None:
        return None
    return Inputs(drawn_picture(SEED), drawn_mask(SEED) if given.mask_image else None)


def spec_of(entry: ModelEntry, given: RenderSpec) -> RenderSpec:
    spec = complete(given, entry)
    return spec if given.image is None else fit_pictures(spec, entry, (64, 64))


@pytest.fixture(scope="module")
def alone(tiny: LoadedModel) -> Iterator[Rig]:
    with Rig(with_bucket(tiny, 1)) as rig:
        yield rig


@pytest.mark.parametrize(("words", "stage"), CASES)
def test_a_bucket_of_one_gives_stocks_image_for_compels_embeddings(
    words: str, stage: str, alone: Rig, tiny: LoadedModel, tiny_entry: ModelEntry
) -> None:
    given = given_of(**WORDS[words], **STAGES[stage])
    inputs = inputs_of(given)
    farm = alone.picture(alone.submit(spec_of(tiny_entry, given), SEED, inputs=inputs)).pixels
    stock = stock_picture(tiny, given, SEED, inputs, encode=embeddings)
    assert largest_difference(farm, stock) == 0
    literal = given.model_copy(update={"prompt_weighting": None})
    plain = alone.picture(alone.submit(spec_of(tiny_entry, literal), SEED, inputs=inputs)).pixels
    assert largest_difference(farm, plain) > 0


@pytest.mark.parametrize(
    "fields",
    [
        {"clip_skip": 1, "negative_prompt": "red", "prompt_2": "a green square"},
        {"refiner": {"mode": "ensemble", "high_noise_frac": 0.5}, "clip_skip": 1},
        {"negative_prompt": ""},
        {"guidance_scale": 1.0},
    ],
)
def test_a_prompt_without_weights_is_what_it_is_without_the_field(
    fields: dict[str, Any], alone: Rig, tiny_entry: ModelEntry
) -> None:
    given = given_of(prompt="a large red circle, a blue square", **fields)
    specs = [given, given.model_copy(update={"prompt_weighting": None})]
    one, other = (alone.picture(alone.submit(complete(spec, tiny_entry), SEED)).pixels for spec in specs)
    assert torch.equal(one, other)


def test_clip_skip_and_weights_both_count(alone: Rig, tiny_entry: ModelEntry) -> None:
    fields: list[dict[str, Any]] = [
        {"clip_skip": skip, "prompt": prompt}
        for skip in (0, 1)
        for prompt in ("a red circle", "a red+++ circle")
    ]
    specs = [complete(given_of(**one), tiny_entry) for one in fields]
    pictures = [alone.picture(alone.submit(spec, SEED)).pixels for spec in specs]
    pairs = [(left, right) for i, left in enumerate(pictures) for right in pictures[:i]]
    assert all(largest_difference(left, right) > 0 for left, right in pairs)


def test_reproducible_renders_are_bit_equal_alone_and_among_longer_and_shorter_ones(
    tiny: LoadedModel, tiny_entry: ModelEntry
) -> None:
    common = {"reproducible": True, "num_inference_steps": 5}
    given = [given_of(**words, **common) for words in WORDS.values()]
    given += [given_of(prompt=LONG, negative_prompt="dark", refiner={}, **common)]
    given += [
        given_of(prompt=f"a {colour}+ circle", prompt_weighting=None, **common) for colour in ("red", "blue")
    ]
    specs = [complete(one, tiny_entry) for one in given]
    pictures = []
    for spec in specs:
        with Rig(tiny) as rig:
            pictures.append(rig.picture(rig.submit(spec, SEED)).pixels)
    with Rig(tiny) as rig:
        mixed = rig.pictures([(spec, SEED) for spec in reversed(specs)])
        assert rig.engine.counters.rows > 2 * rig.engine.counters.forwards, "they were not batched"
    for one, other in zip(pictures, reversed(mixed), strict=True):
        assert torch.equal(one, other.pixels)


def test_only_embeddings_of_one_length_share_a_forward(tiny: LoadedModel, tiny_entry: ModelEntry) -> None:
    lengths: set[tuple[int, ...]] = set()
    unet = tiny.pipelines[Stage.BASE].unet
    handle = unet.register_forward_pre_hook(
        lambda _module, _inputs, named: lengths.add(tuple(named["encoder_hidden_states"].shape[:2])),
        with_kwargs=True,
    )
    given = [given_of(prompt=prompt, reproducible=True) for prompt in (LONG, "a red+ circle")]
    try:
        with Rig(tiny) as rig:
            rig.pictures([(complete(one, tiny_entry), SEED) for one in given])
    finally:
        handle.remove()
    assert lengths == {(tiny.bucket, 154), (tiny.bucket, 77)}


@pytest.fixture(scope="module")
def adapted(
    tiny_entry: ModelEntry, tiny: LoadedModel, tmp_path_factory: pytest.TempPathFactory
) -> ModelEntry:
    """An entry with an embedding of three rows, and a LoRA on both text encoders."""
    folder, base = tmp_path_factory.mktemp("adapted"), tiny.pipelines[Stage.BASE]
    rows = write_embedding(folder / "rows.safetensors", base, 2, rows=3)
    style = write_lora(folder / "style.safetensors", base, 3, networks=("text_encoder", "text_encoder_2"))
    more = {
        "embeddings": {"rows": EmbeddingEntry(file=str(rows), token="<s1>")},
        "loras": {"style": LoraEntry(file=str(style))},
    }
    return tiny_entry.model_copy(update=more)


@pytest.fixture(scope="module")
def adapted_alone(adapted: ModelEntry) -> Iterator[Rig]:
    with Rig(with_bucket(load_model(adapted, [Stage.BASE, Stage.REFINE]), 1)) as rig:
        yield rig


@pytest.mark.parametrize(
    "fields",
    [
        {"prompt": "a (<s1>)1.4 circle, (red)0.5", "embeddings": ["rows"]},
        {"prompt": "a red++ circle", "loras": [{"name": "style"}]},
        {"prompt": "<s1>-- circle", "embeddings": ["rows"], "loras": [{"name": "style"}]},
    ],
)
def test_embeddings_and_loras_go_along(
    fields: dict[str, Any], adapted: ModelEntry, adapted_alone: Rig
) -> None:
    given = given_of(negative_prompt="dark", **fields)
    spec = complete(given, adapted)
    farm = adapted_alone.picture(adapted_alone.submit(spec, SEED)).pixels
    stock = stock_picture(stock_pipelines(adapted, spec), given, SEED, None, encode=embeddings)
    assert largest_difference(farm, stock) <= 1


def test_each_row_of_an_embedding_is_read_in_both_stages(adapted: ModelEntry, adapted_alone: Rig) -> None:
    given = given_of(prompt="a <s1> circle", embeddings=["rows"], refiner={"high_noise_frac": 0.5})
    specs = [complete(one, adapted) for one in (given, given.model_copy(update={"prompt_weighting": None}))]
    one, other = (adapted_alone.picture(adapted_alone.submit(spec, SEED)).pixels for spec in specs)
    assert torch.equal(one, other)
