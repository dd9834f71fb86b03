"""Textual inversions per job: stock's picture, and prompts of other jobs that mean what they meant."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import diffusers
import pytest
import torch
from safetensors.torch import load_file, save_file

from latentfarm.adapters import EmbeddingEntry, LoraEntry
from latentfarm.errors import InvalidInput, ModelError
from latentfarm.spec import RenderSpec
from latentfarm.states import Stage
from latentfarm.validation import complete
from tests.adapter_files import write_embedding, write_lora
from tests.rig import Rig, largest_difference, stock_image, with_bucket
from worker.engine.model import LoadedModel, load_model

if TYPE_CHECKING:
    from pathlib import Path

    from latentfarm.registry import ModelEntry

STAGES = [Stage.BASE, Stage.REFINE]
SETS: dict[str, dict[str, Any]] = {
    "one row": {"prompt": "a red circle in <mood>", "embeddings": ["mood"]},
    "several rows": {"prompt": "a <s1> circle", "embeddings": ["rows"]},
    "two": {"prompt": "a <mood> circle, <s1>", "embeddings": ["mood", "rows"]},
    "two, other order": {"prompt": "a <mood> circle, <s1>", "embeddings": ["rows", "mood"]},
    "in the negative prompt": {"negative_prompt": "<s1>, dark", "embeddings": ["rows"]},
    "in the second prompt": {"prompt_2": "a <mood> thing", "embeddings": ["mood"]},
    "refined": {"prompt": "a red circle in <mood>", "embeddings": ["mood"], "refiner": {}},
    "with a LoRA": {"prompt": "a <s1> circle", "embeddings": ["rows"], "loras": [{"name": "style"}]},
    "clip skip": {"prompt": "a <s1> circle", "embeddings": ["rows"], "clip_skip": 1},
}
WITHOUT: list[dict[str, Any]] = [
    {"prompt": "a red circle in <mood>"},
    {"prompt": "a <s1> <s1>_1 circle", "negative_prompt": "<mood>"},
    {"prompt": "a red circle", "refiner": {}},
]


@pytest.fixture(scope="module")
def entry(tiny_entry: ModelEntry, tiny: LoadedModel, tmp_path_factory: pytest.TempPathFactory) -> ModelEntry:
    folder = tmp_path_factory.mktemp("embeddings")
    base = tiny.pipelines[Stage.BASE]
    write_embedding(folder / "mood.safetensors", base, 1)
    write_embedding(folder / "rows.safetensors", base, 2, rows=3)
    write_lora(folder / "style.safetensors", base, 3)
    embeddings = {
        "mood": EmbeddingEntry(file=str(folder / "mood.safetensors")),
        "rows": EmbeddingEntry(file=str(folder / "rows.safetensors"), token="<s1>"),
    }
    loras = {"style": LoraEntry(file=str(folder / "style.safetensors"))}
    return tiny_entry.model_copy(update={"embeddings": embeddings, "loras": loras})


@pytest.fixture(scope="module")
def model(entry: ModelEntry) -> LoadedModel:
    loaded = load_model(entry, STAGES)
    assert loaded.embeddings.unusable == {}
    return loaded


def spec_of(entry: ModelEntry, **fields: object) -> RenderSpec:
    given = {"prompt": "a red circle", "num_inference_steps": 5, "width": 64, "height": 64, **fields}
    return complete(RenderSpec.model_validate(given), entry)


def stock_pipelines(entry: ModelEntry, spec: RenderSpec) -> LoadedModel:
    """Pipelines of their own that were given the embeddings as diffusers' guide does."""
    pipelines: dict[Stage, Any] = {
        Stage.BASE: diffusers.StableDiffusionXLPipeline.from_pretrained(entry.base, local_files_only=True),
        Stage.REFINE: diffusers.StableDiffusionXLImg2ImgPipeline.from_pretrained(
            entry.refiner, local_files_only=True
        ),
    }
    for pipeline in pipelines.values():
        pipeline.set_progress_bar_config(disable=True)
        for name in spec.embeddings:
            rows = load_file(entry.embeddings[name].file)
            for key, part in (("clip_l", ""), ("clip_g", "_2")):
                encoder = getattr(pipeline, f"text_encoder{part}")
                if encoder is not None:
                    pipeline.load_textual_inversion(
                        rows[key],
                        token=entry.token_of(name),
                        text_encoder=encoder,
                        tokenizer=getattr(pipeline, f"tokenizer{part}"),
                    )
    for use in spec.loras:
        pipelines[Stage.BASE].load_lora_weights(entry.loras[use.name].file, adapter_name=use.name)
    return LoadedModel("tiny", 1, torch.device("cpu"), torch.float32, pipelines, {})


@pytest.mark.parametrize("name", SETS)
def test_a_bucket_of_one_gives_stocks_image(name: str, model: LoadedModel, entry: ModelEntry) -> None:
    spec = spec_of(entry, **SETS[name])
    with Rig(with_bucket(model, 1)) as rig:
        farm = rig.picture(rig.submit(spec, seed=11)).pixels
        plain = rig.picture(rig.submit(spec.model_copy(update={"embeddings": ()}), seed=11)).pixels
    assert largest_difference(farm, stock_image(stock_pipelines(entry, spec), spec, 11)) <= 1
    assert largest_difference(farm, plain) > 0


def test_jobs_without_paint_what_they_painted(
    model: LoadedModel, tiny: LoadedModel, entry: ModelEntry
) -> None:
    """Also where their prompts hold the characters of a token, and others use it at the same time."""
    specs = [spec_of(entry, reproducible=True, **fields) for fields in WITHOUT]
    with Rig(tiny) as rig:
        before = rig.pictures([(spec, 5) for spec in specs])
    users = [spec_of(entry, reproducible=True, **fields) for fields in SETS.values()]
    with Rig(model) as rig:
        mixed = rig.pictures([(spec, 5) for spec in [*users, *specs, *users]])
    first, after, second = mixed[: len(users)], mixed[len(users) : -len(users)], mixed[-len(users) :]
    for one, other in zip(before, after, strict=True):
        assert torch.equal(one.pixels, other.pixels)
    for one, other in zip(first, second, strict=True):
        assert torch.equal(one.pixels, other.pixels)


def test_rows_count_as_tokens_in_the_warning(model: LoadedModel, entry: ModelEntry) -> None:
    spec = spec_of(entry, prompt="<s1> " * 26, embeddings=["rows"])
    with Rig(with_bucket(model, 1)) as rig:
        warned = rig.picture(rig.submit(spec)).warnings
    assert warned == ("prompt was cut: 80 tokens where the encoder reads 77",)


@pytest.mark.parametrize(
    ("embeddings", "field"), [(["nobody"], "embeddings.0"), (["mood", "mood"], "embeddings")]
)
def test_names_are_checked_at_submit(embeddings: list[str], field: str, entry: ModelEntry) -> None:
    with pytest.raises(InvalidInput) as refused:
        spec_of(entry, embeddings=embeddings)
    assert refused.value.field == field


def test_two_names_for_one_token_cannot_be_asked_for_together(entry: ModelEntry) -> None:
    twin = {**entry.embeddings, "twin": entry.embeddings["rows"]}
    with pytest.raises(InvalidInput, match="<s1>"):
        spec_of(entry.model_copy(update={"embeddings": twin}), embeddings=["rows", "twin"])


def test_what_does_not_fit_is_refused_and_the_rest_works(
    model: LoadedModel, tiny_entry: ModelEntry, tmp_path: Path
) -> None:
    whole = load_file(write_embedding(tmp_path / "whole.safetensors", model.pipelines[Stage.BASE], 1))
    save_file({"clip_l": whole["clip_l"]}, tmp_path / "half.safetensors")
    save_file({"clip_l": torch.zeros(1, 768), "clip_g": torch.zeros(1, 1280)}, tmp_path / "wide.safetensors")
    save_file({**whole, "clip_g": whole["clip_g"].repeat(2, 1)}, tmp_path / "uneven.safetensors")
    torch.save(whole, tmp_path / "pickle.pt")
    torch.save(whole, tmp_path / "renamed.safetensors")
    entries = {path.stem: EmbeddingEntry(file=str(path)) for path in tmp_path.iterdir()}
    token = next(iter(model.pipelines[Stage.BASE].tokenizer.get_vocab()))
    entries["known"] = EmbeddingEntry(file=str(tmp_path / "whole.safetensors"), token=token)
    entry = tiny_entry.model_copy(update={"embeddings": entries})
    found = load_model(entry, [Stage.BASE])
    assert list(found.embeddings.loaded) == ["whole"]
    assert found.embeddings.unusable.keys() == entries.keys() - {"whole"}
    assert "convert it once" in found.embeddings.unusable["pickle"]
    with Rig(found) as rig:
        assert isinstance(rig.result(rig.submit(spec_of(entry, embeddings=["half"]))), ModelError)
        rig.picture(rig.submit(spec_of(entry, prompt="<whole>", embeddings=["whole"])))
