"""Loading: whole files only, the stages that were asked for, and a hash that tells weights apart."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
import torch
from safetensors.torch import load_file, save_file

from latentfarm.errors import ModelError
from latentfarm.states import Stage
from tests.rig import Rig
from worker.engine.model import load_model
from worker.engine.sources import Digests, source_of

if TYPE_CHECKING:
    from latentfarm.registry import ModelEntry
    from tests.rig import MakeSpec
    from worker.engine.model import LoadedModel

UNET = "unet/diffusion_pytorch_model.safetensors"


@pytest.fixture
def copied(tiny_entry: ModelEntry, tmp_path: Path) -> ModelEntry:
    """The base in a folder of this test's own, without a refiner."""
    shutil.copytree(tiny_entry.base, tmp_path / "base")
    return tiny_entry.model_copy(update={"base": str(tmp_path / "base"), "refiner": None})


@pytest.mark.parametrize("part", [UNET, "text_encoder/model.safetensors"])
@pytest.mark.parametrize("size", [0, 5, 1000, -1])
def test_a_truncated_file_is_named(part: str, size: int, copied: ModelEntry) -> None:
    path = Path(copied.base) / part
    whole = path.read_bytes()
    path.write_bytes(whole[:size])
    with pytest.raises(ModelError, match=str(path)):
        load_model(copied, [Stage.BASE])


@pytest.mark.parametrize("part", [UNET, "text_encoder_2/model.safetensors"])
def test_a_missing_file_is_named(part: str, copied: ModelEntry) -> None:
    path = Path(copied.base) / part
    path.unlink()
    with pytest.raises(ModelError, match=str(path.parent)):
        load_model(copied, [Stage.BASE])


def test_a_missing_folder_is_named(copied: ModelEntry) -> None:
    shutil.rmtree(copied.base)
    with pytest.raises(ModelError, match=copied.base):
        load_model(copied, [Stage.BASE])


@pytest.mark.parametrize("part", [UNET, "text_encoder/model.safetensors"])
def test_missing_tensors_are_not_filled_with_noise(part: str, copied: ModelEntry) -> None:
    path = Path(copied.base) / part
    tensors = load_file(path)
    del tensors[max(tensors)]
    save_file(tensors, path, metadata={"format": "pt"})
    with pytest.raises(ModelError, match=path.parent.name):
        load_model(copied, [Stage.BASE])


def test_tensors_of_another_shape_are_refused(copied: ModelEntry) -> None:
    path = Path(copied.base) / UNET
    tensors = load_file(path)
    name = next(name for name, tensor in tensors.items() if tensor.ndim == 4)
    tensors[name] = torch.zeros(3, 3, 3, 3)
    save_file(tensors, path, metadata={"format": "pt"})
    with pytest.raises(ModelError, match="unet: "):
        load_model(copied, [Stage.BASE])


def test_pickled_weights_are_not_read(copied: ModelEntry) -> None:
    path = Path(copied.base) / UNET
    torch.save(load_file(path), path.with_suffix(".bin"))
    path.unlink()
    with pytest.raises(ModelError, match="safetensors"):
        load_model(copied, [Stage.BASE])


def test_a_variant_in_half_precision_is_loaded(copied: ModelEntry, make: MakeSpec) -> None:
    """float16 files under the names that published models give them; on this CPU in bfloat16."""
    for path in Path(copied.base).glob("*/*.safetensors"):
        halves = {name: tensor.half() for name, tensor in load_file(path).items()}
        save_file(halves, path.with_suffix(".fp16.safetensors"), metadata={"format": "pt"})
        path.unlink()
    entry = copied.model_copy(update={"variant": "fp16", "dtype": "bfloat16"})
    model = load_model(entry, [Stage.BASE])
    assert model.pipelines[Stage.BASE].unet.dtype == torch.bfloat16
    with Rig(model) as rig:
        picture = rig.picture(rig.submit(make()))
    assert picture.notes["dtype"] == "bfloat16"


def hash_of(entry: ModelEntry) -> str:
    return Digests().whole(source_of(entry, Stage.BASE, "float32").files)


def test_the_hash_is_of_the_weights(copied: ModelEntry, tiny: LoadedModel) -> None:
    folder = Path(copied.base)
    before = hash_of(copied)
    assert before == tiny.hashes[Stage.BASE]
    (folder / "README.md").write_text("a note")
    assert hash_of(copied) == before
    tensors = load_file(folder / UNET)
    tensors[min(tensors)] += 1
    save_file(tensors, folder / UNET, metadata={"format": "pt"})
    assert hash_of(copied) != before


def test_a_hub_id_is_taken_from_the_local_cache_at_its_revision(
    tiny_entry: ModelEntry, tiny: LoadedModel, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    revision = "0123456789abcdef0123456789abcdef01234567"
    snapshot = tmp_path / "models--someone--tiny" / "snapshots" / revision
    snapshot.parent.mkdir(parents=True)
    snapshot.symlink_to(tiny_entry.base)
    monkeypatch.setenv("HF_HUB_CACHE", str(tmp_path))
    hub = tiny_entry.model_copy(update={"base": "someone/tiny", "revision": revision, "refiner": None})
    assert load_model(hub, [Stage.BASE]).hashes[Stage.BASE] == tiny.hashes[Stage.BASE]
    with pytest.raises(ModelError, match="not in the local cache"):
        load_model(hub.model_copy(update={"revision": revision[::-1]}), [Stage.BASE])


def test_a_refine_worker_knows_the_base_by_its_hash(tiny_entry: ModelEntry, tiny: LoadedModel) -> None:
    model = load_model(tiny_entry, [Stage.REFINE])
    assert model.hashes == tiny.hashes
    with pytest.raises(ModelError, match="base"):
        model.pipeline(Stage.BASE)
    elsewhere = tiny_entry.model_copy(update={"base": "/nowhere"})
    assert set(load_model(elsewhere, [Stage.REFINE]).hashes) == {Stage.REFINE}
