"""Weights and folders that carry code: refused, or read without it. The canary is never fired."""

from __future__ import annotations

import os
import pickle
import shutil
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from latentfarm.adapters import EmbeddingEntry, LoraEntry
from latentfarm.errors import InvalidInput, ModelError
from latentfarm.states import Stage
from tests.corpus.models import WAYS, Fires, archive, seduce, weights
from worker.engine.model import load_model

if TYPE_CHECKING:
    from latentfarm.registry import ModelEntry

UNET = "unet/diffusion_pytorch_model.safetensors"


@pytest.fixture
def canary(tmp_path: Path) -> Path:
    return tmp_path / "canary"


@pytest.fixture
def copied(tiny_entry: ModelEntry, tmp_path: Path) -> ModelEntry:
    shutil.copytree(tiny_entry.base, tmp_path / "base")
    return tiny_entry.model_copy(update={"base": str(tmp_path / "base"), "refiner": None})


def test_the_canary_can_fire(canary: Path) -> None:
    pickle.loads(pickle.dumps(Fires(canary)))
    assert canary.exists()


def test_twenty_files_of_weights_fire_nothing(copied: ModelEntry, canary: Path) -> None:
    """Ten kinds, each under the name that is read, and each under a pickle's own in its place."""
    path = Path(copied.base) / UNET
    tried = 0
    for name, data in [*weights(canary), ("zip by hand", archive(canary))]:
        path.write_bytes(data)
        with pytest.raises(ModelError, match="unet"):
            load_model(copied, [Stage.BASE])
        tried += 1
        path.unlink()
        for suffix in (".bin", ".ckpt") if name.startswith("torch") else (".bin",):
            other = path.with_suffix(suffix)
            other.write_bytes(data)
            with pytest.raises(ModelError, match="safetensors"):
                load_model(copied, [Stage.BASE])
            other.unlink()
            tried += 1
    assert tried >= 20
    assert not canary.exists()


def test_a_link_and_an_index_lead_to_no_pickle(copied: ModelEntry, canary: Path, tmp_path: Path) -> None:
    path = Path(copied.base) / UNET
    evil = tmp_path / "evil.bin"
    evil.write_bytes(archive(canary))
    path.unlink()
    path.symlink_to(evil)
    with pytest.raises(ModelError, match="unet"):
        load_model(copied, [Stage.BASE])
    path.unlink()
    index = path.with_name("diffusion_pytorch_model.safetensors.index.json")
    for where in ("evil.bin", "../../evil.bin", str(evil), "../evil.safetensors"):
        index.write_text(f'{{"metadata": {{}}, "weight_map": {{"w": "{where}"}}}}')
        with pytest.raises(ModelError):
            load_model(copied, [Stage.BASE])
    assert not canary.exists()


@pytest.mark.parametrize("suffix", [".safetensors", ".bin", ".ckpt"])
def test_adapters_and_single_files_fire_nothing(
    tiny_entry: ModelEntry, canary: Path, tmp_path: Path, suffix: str
) -> None:
    file = tmp_path / f"evil{suffix}"
    file.write_bytes(archive(canary))
    changes = (
        {"base": str(file), "base_configs": tiny_entry.base},
        {"unet": str(file)},
        {"vae": str(file)},
        {"loras": {"evil": LoraEntry(file=str(file))}},
        {"embeddings": {"evil": EmbeddingEntry(file=str(file), token="<evil>")}},
    )
    for change in changes:
        entry = tiny_entry.model_copy(update={**change, "refiner": None})
        try:
            loaded = load_model(entry, [Stage.BASE])
        except (ModelError, InvalidInput):
            continue
        # Adapters that cannot be read leave the model usable, and are told where they are asked for.
        assert "evil" in {**loaded.adapters.unusable, **loaded.embeddings.unusable}
    assert not canary.exists()


LOAD = """
import sys
from pathlib import Path
from latentfarm.registry import load_registry
from latentfarm.errors import ModelError
from latentfarm.states import Stage
from worker.engine.model import load_model
entry = load_registry(Path("models/models.toml")).get("tiny")
for folder in sys.argv[1:]:
    try:
        load_model(entry.model_copy(update={"base": folder, "refiner": None}), [Stage.BASE])
    except ModelError as error:
        print("refused", folder)
    else:
        print("loaded", folder)
"""


def test_a_folder_that_asks_for_code_of_its_own_gets_none(tiny_entry: ModelEntry, tmp_path: Path) -> None:
    """In a process of its own, which has none of these modules yet."""
    folders = {way: tmp_path / way.replace(" ", "-") for way in WAYS}
    for way, folder in folders.items():
        shutil.copytree(tiny_entry.base, folder)
        seduce(folder, tmp_path / f"canary of {way}", way)
    ended = subprocess.run(
        [sys.executable, "-c", LOAD, *map(str, folders.values())],
        cwd=Path(__file__).parents[2],
        env={**os.environ, "HF_HUB_OFFLINE": "1", "OMP_NUM_THREADS": "1"},
        capture_output=True,
        text=True,
        check=False,
    )
    told = [line for line in ended.stdout.splitlines() if line.startswith(("refused ", "loaded "))]
    assert [line.split(" ")[1] for line in told] == [str(folder) for folder in folders.values()], (
        ended.stderr[-3000:]
    )
    assert list(tmp_path.glob("canary*")) == []
