"""Places that a model may come from: single files, half-precision folders, components of its own."""

from __future__ import annotations

import dataclasses
import shutil
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
import torch
from safetensors.torch import load_file, save_file

from latentfarm.errors import ModelError
from latentfarm.states import Stage
from tests.rig import Rig, largest_difference
from training.export import export
from worker.assembly import load
from worker.engine.model import load_model

if TYPE_CHECKING:
    from latentfarm.registry import ModelEntry
    from tests.rig import MakeSpec
    from worker.engine.model import LoadedModel

STAGES = [Stage.BASE, Stage.REFINE]


@pytest.fixture(scope="module")
def exported(tiny_entry: ModelEntry, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("exported")
    export(Path(tiny_entry.base).parent, folder)
    return folder


@pytest.fixture(scope="module")
def single(tiny_entry: ModelEntry, exported: Path) -> ModelEntry:
    """Both stages as SDXL was published: a file each, under the original names."""
    return tiny_entry.model_copy(
        update={
            "base": str(exported / "base.safetensors"),
            "base_configs": tiny_entry.base,
            "refiner": str(exported / "refiner.safetensors"),
            "refiner_configs": tiny_entry.refiner,
        }
    )


def paint(model: LoadedModel, make: MakeSpec) -> torch.Tensor:
    with Rig(dataclasses.replace(model, bucket=1)) as rig:
        spec = make(prompt="a red circle", negative_prompt="dark", refiner={})
        return rig.picture(rig.submit(spec, seed=7)).pixels


def test_single_files_paint_what_the_folders_paint(
    single: ModelEntry, tiny: LoadedModel, make: MakeSpec
) -> None:
    model = load_model(single, STAGES)
    assert model.hashes[Stage.BASE] != tiny.hashes[Stage.BASE]
    assert largest_difference(paint(model, make), paint(tiny, make)) == 0


def test_a_single_file_without_a_tensor_is_refused(single: ModelEntry, tmp_path: Path) -> None:
    tensors = load_file(single.base)
    del tensors[next(name for name in tensors if "diffusion_model" in name and "attn1.to_q" in name)]
    save_file(tensors, tmp_path / "cut.safetensors")
    with pytest.raises(ModelError, match=r"cut\.safetensors"):
        load_model(single.model_copy(update={"base": str(tmp_path / "cut.safetensors")}), [Stage.BASE])


def test_files_of_a_variant_paint_what_their_numbers_paint(
    tiny_entry: ModelEntry, exported: Path, tmp_path: Path, make: MakeSpec
) -> None:
    """The half-precision files, in float32, against the same numbers written down in float32."""
    update: dict[str, object] = {"variant": "fp16"}
    for part in ("base", "refiner"):
        update[part] = str(exported / "fp16" / part)
        shutil.copytree(exported / "fp16" / part, tmp_path / part)
        for path in (tmp_path / part).glob("*/*.fp16.safetensors"):
            floats = {name: tensor.float() for name, tensor in load_file(path).items()}
            save_file(floats, path.with_name(path.name.replace(".fp16", "")), metadata={"format": "pt"})
            path.unlink()
    plain = {"base": str(tmp_path / "base"), "refiner": str(tmp_path / "refiner")}
    half = load_model(tiny_entry.model_copy(update=update), STAGES)
    full = load_model(tiny_entry.model_copy(update=plain), STAGES)
    assert largest_difference(paint(half, make), paint(full, make)) == 0


def test_each_component_has_a_dtype(tiny_entry: ModelEntry, make: MakeSpec) -> None:
    dtypes = {"text_encoder": "float32", "text_encoder_2": "float32", "vae": "float32"}
    entry = tiny_entry.model_copy(update={"dtype": "bfloat16", "dtypes": dtypes})
    model = load_model(entry, STAGES)
    pipeline = model.pipelines[Stage.BASE]
    found = [pipeline.unet.dtype, pipeline.vae.dtype, pipeline.text_encoder.dtype]
    assert found == [torch.bfloat16, torch.float32, torch.float32]
    assert paint(model, make).shape == (64, 64, 3)


@pytest.mark.parametrize("form", ["folder", "nested", "file"])
def test_a_vae_of_its_own_is_used_by_both_stages(
    form: str, tiny_entry: ModelEntry, tmp_path: Path, tiny: LoadedModel, make: MakeSpec
) -> None:
    folder = tmp_path / "vae"
    shutil.copytree(Path(tiny_entry.base) / "vae", folder)
    path = folder / "diffusion_pytorch_model.safetensors"
    tensors = load_file(path)
    tensors["decoder.conv_out.bias"] += 0.25
    save_file(tensors, path, metadata={"format": "pt"})
    place = {"folder": folder, "nested": tmp_path, "file": path}[form]
    model = load_model(tiny_entry.model_copy(update={"vae": str(place)}), STAGES)
    assert model.pipelines[Stage.BASE].vae is model.pipelines[Stage.REFINE].vae
    assert model.hashes[Stage.REFINE] != tiny.hashes[Stage.REFINE]
    assert torch.equal(
        model.pipelines[Stage.BASE].vae.decoder.conv_out.bias, tensors["decoder.conv_out.bias"]
    )
    assert largest_difference(paint(model, make), paint(tiny, make)) > 8


def test_a_unet_of_its_own_takes_the_place_of_the_bases(tiny_entry: ModelEntry, tmp_path: Path) -> None:
    """As few-step models are published: one file with diffusers' names."""
    tensors = load_file(Path(tiny_entry.base) / "unet" / "diffusion_pytorch_model.safetensors")
    tensors["conv_out.bias"] += 1
    save_file(tensors, tmp_path / "unet.safetensors")
    model = load_model(tiny_entry.model_copy(update={"unet": str(tmp_path / "unet.safetensors")}), STAGES)
    assert torch.equal(model.pipelines[Stage.BASE].unet.conv_out.bias, tensors["conv_out.bias"])
    assert not torch.equal(model.pipelines[Stage.REFINE].unet.conv_out.bias, tensors["conv_out.bias"])


def test_what_both_stages_share_is_held_once(tiny: LoadedModel) -> None:
    base, refiner = tiny.pipelines[Stage.BASE], tiny.pipelines[Stage.REFINE]
    assert base.vae is refiner.vae
    assert base.text_encoder_2 is refiner.text_encoder_2
    assert base.unet is not refiner.unet


def test_what_differs_in_one_byte_is_not_shared(tiny_entry: ModelEntry, tmp_path: Path) -> None:
    shutil.copytree(str(tiny_entry.refiner), tmp_path / "refiner")
    path = tmp_path / "refiner" / "text_encoder_2" / "model.safetensors"
    tensors = load_file(path)
    tensors[min(tensors)] += 1
    save_file(tensors, path, metadata={"format": "pt"})
    model = load_model(tiny_entry.model_copy(update={"refiner": str(tmp_path / "refiner")}), STAGES)
    base, refiner = model.pipelines[Stage.BASE], model.pipelines[Stage.REFINE]
    assert base.text_encoder_2 is not refiner.text_encoder_2
    assert base.vae is refiner.vae


class Nobody:
    """A listener to whom nothing is told."""

    def stepped(self, *_: object) -> None: ...
    def checkpointed(self, *_: object) -> None: ...
    def finished(self, *_: object) -> None: ...
    def failed(self, *_: object) -> None: ...


@pytest.mark.parametrize("name", ["base.ckpt", "renamed.safetensors", "ruined.safetensors", "nowhere"])
def test_a_model_that_cannot_be_read_does_not_stop_the_others(
    name: str, tiny_entry: ModelEntry, tmp_path: Path
) -> None:
    torch.save({"a": torch.zeros(3)}, tmp_path / "base.ckpt")
    torch.save({"a": torch.zeros(3)}, tmp_path / "renamed.safetensors")
    (tmp_path / "ruined.safetensors").write_bytes(b"\x10\0\0\0\0\0\0\0no JSON at all..")
    broken = {"base": str(tmp_path / name), "base_configs": tiny_entry.base, "name": "broken"}
    entries = [tiny_entry.model_copy(update=broken), tiny_entry]
    assembled = load(entries, STAGES, device="cpu", threads=1, checkpoint_s=0.0, listener=Nobody())
    assert list(assembled.info["models"]) == ["tiny"]
    reason = assembled.unusable["broken"]
    assert name in reason
    assert ("convert it once" in reason) == (name in {"base.ckpt", "renamed.safetensors"})
