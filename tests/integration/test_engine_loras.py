"""LoRAs per job: stock's picture, kept apart from other jobs, and no trace in jobs without them."""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import TYPE_CHECKING, Any

import diffusers
import pytest
import torch
from safetensors.torch import load_file, save_file

from latentfarm.adapters import LoraEntry, LoraUse
from latentfarm.errors import InvalidInput, LatentsError, ModelError
from latentfarm.spec import RenderSpec
from latentfarm.states import Stage
from latentfarm.validation import complete
from tests.adapter_files import write_lora
from tests.rig import Rig, largest_difference, stock_image, with_bucket
from worker.engine.model import LoadedModel, load_model
from worker.engine.order import Picture

if TYPE_CHECKING:
    from collections.abc import Sequence

    from latentfarm.registry import ModelEntry

STAGES = [Stage.BASE, Stage.REFINE]
FILES = {"peft": "base", "kohya": "base", "pictures.only": "base", "for-refiner": "refine"}
SETS: dict[str, dict[str, Any]] = {
    "peft": {"loras": [{"name": "peft"}]},
    "peft, weaker": {"loras": [{"name": "peft", "weight": 0.4}]},
    "peft, backwards": {"loras": [{"name": "peft", "weight": -0.7}]},
    "kohya": {"loras": [{"name": "kohya", "weight": 0.8}]},
    "unet alone": {"loras": [{"name": "pictures.only"}]},
    "several": {"loras": [{"name": "kohya", "weight": 0.5}, {"name": "peft", "weight": 0.9}]},
    "several, other order": {"loras": [{"name": "peft", "weight": 0.9}, {"name": "kohya", "weight": 0.5}]},
    "weight 0": {"loras": [{"name": "peft", "weight": 0.0}]},
    "refined without": {"loras": [{"name": "kohya"}], "refiner": {}},
    "refined with": {"loras": [{"name": "kohya"}, {"name": "for-refiner", "weight": 0.6}], "refiner": {}},
}


@pytest.fixture(scope="module")
def entry(tiny_entry: ModelEntry, tiny: LoadedModel, tmp_path_factory: pytest.TempPathFactory) -> ModelEntry:
    folder = tmp_path_factory.mktemp("loras")
    base, refiner = tiny.pipelines[Stage.BASE], tiny.pipelines[Stage.REFINE]
    write_lora(folder / "peft.safetensors", base, 1)
    write_lora(folder / "kohya.safetensors", base, 2, layout="kohya")
    write_lora(folder / "pictures.only.safetensors", base, 3, networks=("unet",))
    write_lora(folder / "for-refiner.safetensors", refiner, 4, networks=("unet", "text_encoder_2"))
    loras = {
        name: LoraEntry(file=str(folder / f"{name}.safetensors"), stage=stage)
        for name, stage in FILES.items()
    }
    return tiny_entry.model_copy(update={"loras": loras})


@pytest.fixture(scope="module")
def model(entry: ModelEntry) -> LoadedModel:
    loaded = load_model(entry, STAGES)
    assert loaded.adapters.unusable == {}
    return loaded


def spec_of(entry: ModelEntry, **fields: object) -> RenderSpec:
    given = {"prompt": "a red circle", "num_inference_steps": 5, "width": 64, "height": 64, **fields}
    return complete(RenderSpec.model_validate(given), entry)


def stock(entry: ModelEntry, uses: Sequence[Any], stage: Stage) -> Any:
    """A pipeline of its own, with nothing of the farm in it."""
    cls: Any = (
        diffusers.StableDiffusionXLPipeline
        if stage is Stage.BASE
        else diffusers.StableDiffusionXLImg2ImgPipeline
    )
    folder = entry.base if stage is Stage.BASE else entry.refiner
    pipeline = cls.from_pretrained(folder, local_files_only=True, add_watermarker=False)
    pipeline.set_progress_bar_config(disable=True)
    own = [use for use in uses if entry.loras[use.name].stage == stage.label]
    for use in own:
        pipeline.load_lora_weights(entry.loras[use.name].file, adapter_name=use.name.replace(".", "_"))
    if own:
        pipeline.set_adapters([use.name.replace(".", "_") for use in own], [use.weight for use in own])
    return pipeline


def stock_pipelines(entry: ModelEntry, spec: RenderSpec) -> LoadedModel:
    pipelines = {stage: stock(entry, spec.loras, stage) for stage in STAGES}
    return LoadedModel("tiny", 1, torch.device("cpu"), torch.float32, pipelines, {})


@pytest.mark.filterwarnings("ignore:Already found a `peft_config`")
@pytest.mark.parametrize("name", SETS)
def test_a_bucket_of_one_gives_stocks_image(name: str, model: LoadedModel, entry: ModelEntry) -> None:
    spec = spec_of(entry, negative_prompt="dark", **SETS[name])
    with Rig(with_bucket(model, 1)) as rig:
        farm = rig.picture(rig.submit(spec, seed=11)).pixels
    assert largest_difference(farm, stock_image(stock_pipelines(entry, spec), spec, 11)) <= 1


def test_provenance_names_the_files(model: LoadedModel, entry: ModelEntry) -> None:
    with Rig(with_bucket(model, 1)) as rig:
        notes = rig.picture(rig.submit(spec_of(entry, **SETS["several"]))).notes
        assert "loras" not in rig.picture(rig.submit(spec_of(entry))).notes
    digests = {
        name: hashlib.sha256(Path(entry.loras[name].file).read_bytes()).hexdigest()
        for name in ("kohya", "peft")
    }
    assert notes["loras"] == " ".join(f"{name}={digest}" for name, digest in digests.items())


def test_latents_of_another_set_are_refused(model: LoadedModel, entry: ModelEntry) -> None:
    spec = spec_of(entry, **SETS["refined with"])
    with Rig(with_bucket(model, 1)) as rig:
        order = rig.submit(spec)
        handover = rig.result(order)
        for loras in ([], [{"name": "kohya", "weight": 0.9}], [{"name": "peft"}]):
            other = spec_of(entry, refiner={}, loras=loras)
            onward = rig.submit(other, stage=Stage.REFINE, handover=handover)
            assert isinstance(rig.result(onward), LatentsError)
        other = spec_of(entry, refiner={}, loras=[{"name": "kohya"}])
        assert isinstance(rig.result(rig.submit(other, stage=Stage.REFINE, handover=handover)), Picture)


def test_each_set_moves_the_picture(model: LoadedModel, entry: ModelEntry) -> None:
    """But for the one of weight 0; else the test above would prove nothing."""
    moved = {}
    with Rig(with_bucket(model, 1)) as rig:
        for name, fields in SETS.items():
            plain = {key: value for key, value in fields.items() if key != "loras"}
            pictures = [rig.picture(rig.submit(spec_of(entry, **one), seed=11)) for one in (fields, plain)]
            moved[name] = largest_difference(pictures[0].pixels, pictures[1].pixels)
    assert moved.pop("weight 0") == 0
    assert min(moved.values()) > 8, moved


@pytest.mark.parametrize("bucket", [1, 8])
def test_a_job_without_is_the_same_bit_for_bit(
    bucket: int, model: LoadedModel, tiny: LoadedModel, entry: ModelEntry
) -> None:
    spec = spec_of(entry, refiner={}, reproducible=True)
    with Rig(with_bucket(tiny, bucket)) as rig:
        before = rig.picture(rig.submit(spec, seed=5)).pixels
    with Rig(with_bucket(model, bucket)) as rig:
        rig.picture(rig.submit(spec_of(entry, **SETS["several"]), seed=5))
        after = rig.picture(rig.submit(spec, seed=5)).pixels
    assert torch.equal(before, after)


@pytest.mark.parametrize("stage", STAGES)
def test_a_network_rounds_as_one_that_never_had_any(
    stage: Stage, model: LoadedModel, tiny: LoadedModel, entry: ModelEntry
) -> None:
    """Products over an odd layout differ by whether weights are frozen, which loading a LoRA does to them."""
    spec = spec_of(entry, **SETS["refined with"])
    with Rig(with_bucket(model, 1)) as rig:
        rig.picture(rig.submit(spec))
        rig.picture(rig.submit(spec.model_copy(update={"loras": ()})))
    generator = torch.Generator().manual_seed(1)
    networks = [loaded.pipelines[stage].unet for loaded in (tiny, model)]
    config = networks[0].config
    ids = 6 if stage is Stage.BASE else 5
    width = config.projection_class_embeddings_input_dim - ids * config.addition_time_embed_dim
    shapes = (2, 4, 12, 8), (2, 77, config.cross_attention_dim), (2, width), (2, ids)
    latents, texts, pooled, sizes = (torch.randn(shape, generator=generator) for shape in shapes)
    told = {"text_embeds": pooled, "time_ids": sizes}
    with torch.no_grad():
        one, other = (
            network(latents, 500.0, encoder_hidden_states=texts, added_cond_kwargs=told).sample
            for network in networks
        )
    assert torch.equal(one, other)


def test_sets_are_kept_apart_in_a_mixture(model: LoadedModel, entry: ModelEntry) -> None:
    specs = [spec_of(entry, reproducible=True, **fields) for fields in [*SETS.values(), {}, {"refiner": {}}]]
    alone = []
    for spec in specs:
        with Rig(with_bucket(model, 8)) as rig:
            alone.append(rig.picture(rig.submit(spec, seed=3)).pixels)
    with Rig(with_bucket(model, 8)) as rig:
        together = rig.pictures([(spec, 3) for spec in specs])
    for one, other in zip(alone, together, strict=True):
        assert torch.equal(one, other.pixels)


def test_samples_of_one_set_share_forwards(model: LoadedModel, entry: ModelEntry) -> None:
    spec = spec_of(entry, **SETS["several"])
    with Rig(with_bucket(model, 8)) as rig:
        rig.pictures([(spec, seed) for seed in range(8)])
        assert rig.engine.counters.forwards < 8 * 5


@pytest.mark.parametrize(
    ("loras", "field"),
    [
        ([{"name": "nobody"}], "loras.0.name"),
        ([{"name": "peft"}, {"name": "nobody"}], "loras.1.name"),
        ([{"name": "peft"}, {"name": "peft", "weight": 0.5}], "loras"),
        ([{"name": "for-refiner"}], "loras.0.name"),
    ],
)
def test_names_are_checked_at_submit(loras: list[dict[str, object]], field: str, entry: ModelEntry) -> None:
    with pytest.raises(InvalidInput) as refused:
        spec_of(entry, loras=loras)
    assert refused.value.field == field


def test_a_model_without_loras_says_so(tiny_entry: ModelEntry) -> None:
    with pytest.raises(InvalidInput, match="none"):
        spec_of(tiny_entry, loras=[{"name": "peft"}])


def broken_files(folder: Path, tiny: LoadedModel) -> dict[str, Path]:
    """Files that look like LoRAs and do not fit."""
    base = tiny.pipelines[Stage.BASE]
    whole = load_file(write_lora(folder / "whole.safetensors", base, 9, networks=("unet",)))
    other = {key.replace("mid_block", "mid_blocks"): tensor for key, tensor in whole.items()}
    wide = {
        key: torch.zeros(4, 768) if "attn2.to_k.lora_A" in key else tensor for key, tensor in whole.items()
    }
    for name, tensors in (("other", other), ("wide", wide), ("strange", {"weight": torch.zeros(2)})):
        save_file(tensors, folder / f"{name}.safetensors")
    (folder / "cut.safetensors").write_bytes((folder / "whole.safetensors").read_bytes()[:-9])
    torch.save(whole, folder / "pickle.safetensors")
    torch.save(whole, folder / "pickle.pt")
    return {path.name: path for path in folder.iterdir()}


def test_what_does_not_fit_is_refused_and_the_rest_works(
    tiny: LoadedModel, tiny_entry: ModelEntry, tmp_path: Path
) -> None:
    files = broken_files(tmp_path, tiny)
    loras = {name.replace(".", "-"): LoraEntry(file=str(path)) for name, path in files.items()}
    loras["absent"] = LoraEntry(file=str(tmp_path / "absent.safetensors"))
    entry = tiny_entry.model_copy(update={"loras": loras})
    model = load_model(entry, [Stage.BASE])
    assert list(model.adapters.loaded) == ["whole-safetensors"]
    assert model.adapters.unusable.keys() == loras.keys() - {"whole-safetensors"}
    assert "convert it once" in model.adapters.unusable["pickle-pt"]
    assert "convert it once" in model.adapters.unusable["pickle-safetensors"]
    with Rig(with_bucket(model, 1)) as rig:
        for name in model.adapters.unusable:
            spec = spec_of(entry).model_copy(update={"loras": (LoraUse(name=name),)})
            assert isinstance(rig.result(rig.submit(spec)), ModelError)
        plain = rig.picture(rig.submit(spec_of(entry), seed=2)).pixels
        lively = rig.picture(rig.submit(spec_of(entry, loras=[{"name": "whole-safetensors"}]), seed=2)).pixels
    with Rig(with_bucket(tiny, 1)) as rig:
        assert torch.equal(plain, rig.picture(rig.submit(spec_of(entry), seed=2)).pixels)
    assert largest_difference(plain, lively) > 8


@pytest.mark.parametrize(
    ("name", "reason"),
    [
        ("wide", "its unet has 768 channels and not 96"),
        ("strange", "holds no LoRA"),
        ("pickle.pt", "is a pickle"),
        ("pickle", "is no safetensors file"),
        ("refiner", "this one has no text_encoder"),
    ],
)
def test_a_lora_of_another_family_is_refused_at_submit(
    name: str, reason: str, tiny: LoadedModel, tiny_entry: ModelEntry, tmp_path: Path
) -> None:
    """Where its file is at hand; the worker refuses it in any case."""
    broken_files(tmp_path, tiny)
    write_lora(tmp_path / "refiner.safetensors", tiny.pipelines[Stage.BASE], 1, networks=("text_encoder",))
    file = tmp_path / (name if "." in name else f"{name}.safetensors")
    lora = LoraEntry(file=str(file), stage="refine" if name == "refiner" else "base")
    entry = tiny_entry.model_copy(update={"loras": {"it": lora}})
    with pytest.raises(InvalidInput, match=reason) as refused:
        spec_of(entry, loras=[{"name": "it"}], refiner={})
    assert refused.value.field == "loras.0.name"


def test_a_refine_worker_needs_no_file_of_the_bases_loras(entry: ModelEntry) -> None:
    gone = {**entry.loras, "peft": LoraEntry(file="/nowhere.safetensors")}
    model = load_model(entry.model_copy(update={"loras": gone}), [Stage.REFINE])
    assert model.adapters.unusable == {}
    assert model.adapters.of(spec_of(entry, **SETS["refined with"]), Stage.REFINE) == (("lora_0", 0.6),)
