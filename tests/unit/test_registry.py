"""models.toml: what is read, what is refused, and where folders are looked for."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from latentfarm.errors import InvalidInput, UnknownModel
from latentfarm.registry import load_registry

if TYPE_CHECKING:
    from pathlib import Path

TINY = """
[models.tiny]
base = "tiny/base"
refiner = "tiny/refiner"
"""


def _write(folder: Path, text: str) -> Path:
    path = folder / "models.toml"
    path.write_text(text)
    return path


def test_folders_are_taken_from_the_place_of_the_file(tmp_path: Path) -> None:
    entry = load_registry(_write(tmp_path, TINY)).get("tiny")
    assert entry.base == str(tmp_path / "tiny" / "base")
    assert entry.refiner == str(tmp_path / "tiny" / "refiner")


def test_hub_ids_stay_as_they_are(tmp_path: Path) -> None:
    text = (
        '[models.sdxl]\nbase = "org/base"\nrevision = "abc"\nrefiner = "org/fine"\nrefiner_revision = "def"\n'
    )
    entry = load_registry(_write(tmp_path, text)).get("sdxl")
    assert (entry.base, entry.refiner) == ("org/base", "org/fine")


def test_a_model_may_have_no_refiner(tmp_path: Path) -> None:
    assert load_registry(_write(tmp_path, '[models.one]\nbase = "b"\n')).get("one").refiner is None


def test_an_unknown_name_is_answered_with_the_known_ones(tmp_path: Path) -> None:
    with pytest.raises(UnknownModel) as refused:
        load_registry(_write(tmp_path, TINY + '[models.other]\nbase = "b"\n')).get("sdxl")
    assert (refused.value.field, refused.value.allowed) == ("model", "other, tiny")


@pytest.mark.parametrize(
    ("text", "field"),
    [
        ('[models.tiny]\nbase = "b"\nbucket = 0\n', "models.tiny.bucket"),
        ('[models.tiny]\nbase = "b"\ndtype = "int4"\n', "models.tiny.dtype"),
        ('[models.tiny]\nbase = "b"\nwings = 2\n', "models.tiny.wings"),
        ("[models.tiny]\nbucket = 8\n", "models.tiny.base"),
        ('[models."Tiny.One"]\nbase = "b"\n', "models.Tiny.One.name"),
        ("[models.tiny\n", "models_file"),
        ("models = 3\n", "models"),
        ("[models]\ntiny = 3\n", "models.tiny"),
    ],
)
def test_a_wrong_entry_is_named(tmp_path: Path, text: str, field: str) -> None:
    with pytest.raises(InvalidInput) as refused:
        load_registry(_write(tmp_path, text))
    assert refused.value.field == field


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(InvalidInput, match="No such file"):
        load_registry(tmp_path / "nowhere.toml")


def test_bytes_that_are_no_text_are_no_surprise(tmp_path: Path) -> None:
    path = tmp_path / "models.toml"
    path.write_bytes(b"\xff\xfe\x00")
    with pytest.raises(InvalidInput) as refused:
        load_registry(path)
    assert refused.value.field == "models_file"
