"""`latentfarm models pull` and `check`, with the hub's own client against a hub on this machine."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
import torch
from safetensors.torch import load_file, save_file

from latentfarm.registry import load_registry
from latentfarm.states import Stage
from tests.adapter_files import write_lora
from tests.hub import COMMIT, Hub
from worker.engine.model import load_model

if TYPE_CHECKING:
    from collections.abc import Iterator

    from latentfarm.registry import ModelEntry
    from worker.engine.model import LoadedModel

ROOT = Path(__file__).parents[2]
UNET = "unet/diffusion_pytorch_model.safetensors"


class Command:
    """The command line with a registry, a cache and a hub of the test's own."""

    def __init__(self, folder: Path, hub: Hub) -> None:
        self.file = folder / "models.toml"
        self.hub = hub
        self.cache = folder / "cache"

    def run(self, *words: str) -> subprocess.CompletedProcess[str]:
        environment = {
            **os.environ,
            "LATENTFARM_MODELS_FILE": str(self.file),
            "HF_HUB_CACHE": str(self.cache),
            "HF_ENDPOINT": self.hub.url,
            "PYTHONPATH": str(ROOT),
        }
        environment.pop("HF_HUB_OFFLINE", None)
        return subprocess.run(
            [sys.executable, "-m", "latentfarm.cli.app", "models", *words],
            capture_output=True,
            text=True,
            env=environment,
            cwd=self.file.parent,
            check=False,
        )


@pytest.fixture
def command(tiny_entry: ModelEntry, tiny: LoadedModel, tmp_path: Path) -> Iterator[Command]:
    """Repositories as they are published: with a README, other variants, and pickles beside."""
    base, vae, lora = (tmp_path / "hub" / name for name in ("base", "vae", "lora"))
    shutil.copytree(tiny_entry.base, base)
    shutil.copytree(base / "vae", vae)
    lora.mkdir()
    write_lora(lora / "style.safetensors", tiny.pipelines[Stage.BASE], 1)
    for path in (base / "README.md", base / "unet" / "model.onnx", base / "unet" / "pytorch_model.bin"):
        path.write_text("not wanted")
    shutil.copy(base / UNET, base / "unet" / "diffusion_pytorch_model.fp16.safetensors")
    shutil.copy(base / UNET, base / "whole.safetensors")
    folders = {"someone/base": base, "someone/vae": vae, "someone/lora": lora}
    with Hub(folders) as hub:
        command = Command(tmp_path, hub)
        command.file.write_text(
            f'[models.far]\nbase = "someone/base"\nrevision = "{COMMIT}"\noptional = true\n'
            f'vae = "someone/vae"\nvae_revision = "{COMMIT}"\nnative_size = [128, 128]\nmin_size = 64\n'
            f'[models.far.loras.style]\nfile = "someone/lora/style.safetensors"\nrevision = "{COMMIT}"\n'
        )
        yield command


def test_a_pulled_model_is_loaded_without_the_hub(
    command: Command, tiny: LoadedModel, monkeypatch: pytest.MonkeyPatch
) -> None:
    ran = command.run("pull", "far")
    assert ran.returncode == 0, ran.stderr
    assert "100%" in ran.stderr
    monkeypatch.setenv("HF_HUB_CACHE", str(command.cache))
    asked = len(command.hub.fetched)
    model = load_model(load_registry(command.file).get("far"), [Stage.BASE])
    assert model.adapters.unusable == {}
    assert model.adapters.loaded.keys() == {"style"}
    assert model.hashes[Stage.BASE] == tiny.hashes[Stage.BASE]
    assert len(command.hub.fetched) == asked
    names = {path.rpartition("/")[2] for path in command.hub.fetched}
    assert not names & {"README.md", "model.onnx", "pytorch_model.bin", "whole.safetensors"}
    assert not [name for name in names if ".fp16." in name]
    assert not [path for path in command.hub.fetched if "base" in path and "/vae/diffusion" in path]


def test_what_is_there_is_not_fetched_again(command: Command) -> None:
    assert command.run("pull", "far").returncode == 0
    asked = len(command.hub.fetched)
    assert command.run("pull", "far").returncode == 0
    assert len(command.hub.fetched) == asked


def test_a_hub_id_without_a_commit_is_not_fetched(command: Command) -> None:
    command.file.write_text('[models.far]\nbase = "someone/base"\n')
    ran = command.run("pull", "far")
    assert ran.returncode == 2
    assert "models.far.revision" in ran.stderr
    assert command.hub.fetched == []


@pytest.mark.parametrize("place", ["someone/nothing", "someone/base/nothing.safetensors"])
def test_what_the_hub_has_not_is_named(command: Command, place: str, tiny_entry: ModelEntry) -> None:
    command.file.write_text(
        f'[models.far]\nbase = "{place}"\nrevision = "{COMMIT}"\nbase_configs = "{tiny_entry.base}"\n'
    )
    ran = command.run("pull", "far")
    assert ran.returncode == 1
    assert place in ran.stderr
    assert "Traceback" not in ran.stderr


@pytest.mark.long
def test_check_finds_what_was_altered(command: Command) -> None:
    assert "not on this machine" in command.run("check").stdout
    command.run("pull", "far")
    ran = command.run("check", "far")
    assert (ran.returncode, ran.stdout.count("\n")) == (0, 1), ran.stdout
    assert "as recorded" in ran.stdout
    (snapshot,) = command.cache.glob("models--someone--base/snapshots/*")
    tensors = load_file(snapshot / UNET)
    tensors["conv_out.bias"] += 1
    save_file(tensors, (snapshot / UNET).resolve(), metadata={"format": "pt"})
    ran = command.run("check", "far")
    assert ran.returncode == 1
    assert f"base: {UNET} is altered since it was recorded" in ran.stdout
    assert f"base: {UNET} is not what the hub has" in ran.stdout


def local(command: Command, tiny_entry: ModelEntry) -> Path:
    folder = command.file.parent / "base"
    shutil.copytree(tiny_entry.base, folder)
    command.file.write_text('[models.near]\nbase = "base"\n')
    return folder


@pytest.mark.long
def test_digests_of_local_files_are_recorded_when_asked(command: Command, tiny_entry: ModelEntry) -> None:
    folder = local(command, tiny_entry)
    assert "not recorded before" in command.run("check").stdout
    assert command.run("check", "--record").returncode == 0
    assert json.loads((command.file.parent / "models.lock").read_text()).keys() == {"near"}
    (folder / "unet" / "config.json").write_text((folder / "unet" / "config.json").read_text() + "\n")
    ran = command.run("check")
    assert (ran.returncode, "base: unet/config.json is altered" in ran.stdout) == (1, True)


@pytest.mark.long
def test_shapes_and_pickles_are_told(command: Command, tiny_entry: ModelEntry) -> None:
    folder = local(command, tiny_entry)
    tensors = load_file(folder / UNET)
    tensors["conv_out.bias"] = torch.zeros(9)
    save_file(tensors, folder / UNET, metadata={"format": "pt"})
    ran = command.run("check", "near")
    assert (ran.returncode, "conv_out.bias is [9], its config says [4]" in ran.stdout) == (1, True)
    tensors.pop("conv_out.bias")
    save_file(tensors, folder / UNET, metadata={"format": "pt"})
    assert "lacks 1 tensors, such as conv_out.bias" in command.run("check", "near").stdout
    (folder / UNET).rename(folder / "unet" / "diffusion_pytorch_model.bin")
    assert "convert it once" in command.run("check", "near").stdout


@pytest.mark.long
def test_a_lora_of_another_family_is_told(
    command: Command, tiny_entry: ModelEntry, tiny: LoadedModel
) -> None:
    local(command, tiny_entry)
    tensors = load_file(write_lora(command.file.parent / "a.safetensors", tiny.pipelines[Stage.BASE], 1))
    wide = {
        key: torch.zeros(4, 768) if "attn2.to_k.lora_A" in key else tensor for key, tensor in tensors.items()
    }
    save_file(wide, command.file.parent / "a.safetensors")
    with command.file.open("a") as file:
        file.write('[models.near.loras.style]\nfile = "a.safetensors"\n')
    ran = command.run("check", "near")
    assert ran.returncode == 1
    assert "LoRA style: was made for another model: its unet has 768 channels and not 96" in ran.stdout
