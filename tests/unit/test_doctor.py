"""What the doctor sees in files, without any service."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import pytest

from latentfarm.doctor import software
from latentfarm.doctor.weights import check_models, safetensors_size
from latentfarm.registry import ModelEntry, Registry

if TYPE_CHECKING:
    from pathlib import Path

PARTS = {
    "scheduler": "scheduler_config.json",
    "tokenizer": "tokenizer_config.json",
    "unet": "config.json",
    "vae": "config.json",
}


def safetensors(path: Path, size: int = 100) -> None:
    header = json.dumps({"a": {"dtype": "U8", "shape": [size], "data_offsets": [0, size]}}).encode()
    path.write_bytes(len(header).to_bytes(8, "little") + header + b"\0" * size)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    index = {"_class_name": "X", "force": True, "nothing": [None, None]} | {
        name: ["diffusers", "Y"] for name in PARTS
    }
    (tmp_path / "model_index.json").write_text(json.dumps(index))
    for name, config in PARTS.items():
        (tmp_path / name).mkdir()
        (tmp_path / name / config).write_text("{}")
    safetensors(tmp_path / "unet" / "diffusion_pytorch_model.safetensors")
    safetensors(tmp_path / "vae" / "diffusion_pytorch_model.fp16.safetensors")
    safetensors(tmp_path / "vae" / "diffusion_pytorch_model.safetensors")
    return tmp_path


def seen(folder: Path, variant: str | None = None) -> tuple[bool, str]:
    entry = ModelEntry(name="m", base=str(folder), variant=variant)
    (finding,) = check_models(Registry({"m": entry}))
    assert finding.name == "model m base"
    return finding.ok, finding.detail


def test_a_whole_model_is_fine(folder: Path) -> None:
    ok, detail = seen(folder)
    assert ok
    assert detail.startswith("4 parts, 0.0 MB in ")


@pytest.mark.parametrize(
    "name", [f"{part}/{config}" for part, config in PARTS.items()] + ["model_index.json"]
)
def test_a_missing_file_is_named(folder: Path, name: str) -> None:
    (folder / name).unlink()
    ok, detail = seen(folder)
    assert not ok
    assert name in detail


def test_missing_weights_are_named(folder: Path) -> None:
    (folder / "unet" / "diffusion_pytorch_model.safetensors").unlink()
    assert seen(folder) == (False, f"no {folder}/unet/*.safetensors")


def test_a_file_that_was_cut_short_is_named(folder: Path) -> None:
    path = folder / "unet" / "diffusion_pytorch_model.safetensors"
    whole = path.read_bytes()
    path.write_bytes(whole[:-1])
    ok, detail = seen(folder)
    assert not ok
    assert f"{path} has {len(whole) - 1} bytes and not {len(whole)}" in detail


@pytest.mark.parametrize("content", [b"", b"short", b"\xff" * 100, (4).to_bytes(8, "little") + b"[[[["])
def test_what_is_no_safetensors_file_is_named(folder: Path, content: bytes) -> None:
    path = folder / "unet" / "diffusion_pytorch_model.safetensors"
    path.write_bytes(content)
    assert not seen(folder)[0]
    with pytest.raises(ValueError, match=r".+"):
        safetensors_size(path)


def test_the_variant_decides_which_weights_count(folder: Path) -> None:
    ok, detail = seen(folder, "fp16")
    assert not ok
    assert detail == f"no {folder}/unet/*.fp16.safetensors"


def test_software_is_named_with_versions() -> None:
    findings = {finding.name: finding for finding in software.check_software()}
    assert all(finding.ok for finding in findings.values()), findings
    assert "torch 2" in findings["packages of the worker"].detail
    assert findings["device"].detail.startswith("cpu")


def test_packages_and_rooms_that_are_missing_are_named(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(software, "_ENGINE", ("torch", "no-such-package"))
    monkeypatch.setattr(software, "ROOT", tmp_path)
    monkeypatch.setattr(software, "_PROBE", "import no_such_module")
    findings = {finding.name: finding for finding in software.check_software()}
    assert findings["packages of the worker"].detail == "no no-such-package"
    assert findings["checkout"].detail.startswith("no api, no scheduler, no worker, no migrations beside")
    assert findings["device"].detail.endswith("No module named 'no_such_module'")
    assert all(finding.advice for finding in findings.values() if not finding.ok)
