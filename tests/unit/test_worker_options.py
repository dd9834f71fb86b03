"""The command line of a worker, and which devices it finds."""

from __future__ import annotations

import platform
import shutil
import stat
from pathlib import Path

import pytest

from latentfarm.errors import InvalidInput, UnknownModel
from latentfarm.registry import ModelEntry, Registry
from latentfarm.settings import Settings
from latentfarm.states import Stage, parse_stages
from worker.options import (
    Options,
    absent_models,
    chosen_models,
    found_devices,
    models_of,
    parse,
    parse_devices,
)

REGISTRY = Registry({name: ModelEntry(name=name, base="b") for name in ("tiny", "other")})


@pytest.mark.parametrize(
    ("text", "stages"),
    [
        ("base", (Stage.BASE,)),
        ("refine", (Stage.REFINE,)),
        ("base,refine", (Stage.BASE, Stage.REFINE)),
        (" refine , base, base", (Stage.BASE, Stage.REFINE)),
        ("seal", (Stage.SEAL,)),
    ],
)
def test_stages_are_a_sorted_set(text: str, stages: tuple[Stage, ...]) -> None:
    assert parse_stages(text) == stages


@pytest.mark.parametrize("text", ["", ",", "base,seal", "base;refine", "BASE"])
def test_other_stages_are_refused(text: str) -> None:
    with pytest.raises(InvalidInput, match="--stages"):
        parse_stages(text)


def test_devices_are_named_as_torch_does() -> None:
    assert parse_devices("cpu") == ("cpu",)
    assert parse_devices("cuda:0, cuda:1") == ("cuda:0", "cuda:1")


@pytest.mark.parametrize("text", ["", "gpu", "cuda:0,tpu", "cudas"])
def test_other_devices_are_refused(text: str) -> None:
    with pytest.raises(InvalidInput, match="--devices"):
        parse_devices(text)


def test_a_wrong_command_line_is_told_in_one_line(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        parse(["--stages", "sing"])
    assert ended.value.code == 2
    assert "no stage 'sing'" in capsys.readouterr().err.splitlines()[-1]


def test_a_worker_serves_both_stages_unless_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "3,5")
    assert parse([]) == Options((Stage.BASE, Stage.REFINE), ("cuda:0", "cuda:1"))


def test_a_worker_that_packs_has_no_device_and_no_model() -> None:
    options = parse(["--stages", "seal", "--devices", "cuda:0,cuda:1"])
    assert options == Options((Stage.SEAL,), ("none",))
    assert models_of(options.stages, Settings(models_file=Path("nowhere"))) == []


@pytest.mark.parametrize("visible", ["", "-1"])
def test_no_visible_device_means_the_cpu(monkeypatch: pytest.MonkeyPatch, visible: str) -> None:
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", visible)
    monkeypatch.setattr(platform, "system", lambda: "Linux")
    assert found_devices() == ("cpu",)


def test_every_listed_gpu_is_a_device(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    program = tmp_path / "nvidia-smi"
    program.write_text("#!/bin/sh\necho 'GPU 0: A (UUID: x)'\necho 'GPU 1: A (UUID: y)'\n")
    program.chmod(program.stat().st_mode | stat.S_IXUSR)
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    monkeypatch.setenv("PATH", str(tmp_path), prepend=":")
    assert shutil.which("nvidia-smi") == str(program)
    assert found_devices() == ("cuda:0", "cuda:1")


def test_apple_silicon_has_mps(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "")
    monkeypatch.setattr(platform, "system", lambda: "Darwin")
    monkeypatch.setattr(platform, "machine", lambda: "arm64")
    assert found_devices() == ("mps",)


def test_all_models_unless_some_are_named() -> None:
    assert [entry.name for entry in chosen_models(REGISTRY, "")] == ["tiny", "other"]
    assert [entry.name for entry in chosen_models(REGISTRY, " other ")] == ["other"]
    with pytest.raises(UnknownModel):
        chosen_models(REGISTRY, "tiny,third")


def test_an_optional_model_without_files_is_left_out_and_named(tmp_path: Path) -> None:
    there = ModelEntry(name="there", base=str(tmp_path), optional=True)
    gone = ModelEntry(name="gone", base=str(tmp_path / "gone"), optional=True)
    needed = ModelEntry(name="needed", base=str(tmp_path / "gone"))
    registry = Registry({entry.name: entry for entry in (there, gone, needed)})
    assert [entry.name for entry in chosen_models(registry, "")] == ["there", "needed"]
    assert absent_models(registry, "") == ["gone"]
    assert [entry.name for entry in chosen_models(registry, "gone")] == ["gone"]
    assert absent_models(registry, "gone") == []
