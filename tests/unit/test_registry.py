"""models.toml: what is read, what is refused, and where folders are looked for."""

from __future__ import annotations

from pathlib import Path

import pytest

from latentfarm.errors import InvalidInput, UnknownModel
from latentfarm.places import Place
from latentfarm.registry import load_registry

COMMIT = "0123456789abcdef0123456789abcdef01234567"
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
        f'[models.sdxl]\nbase = "org/base"\nrevision = "{COMMIT}"\n'
        f'refiner = "org/fine"\nrefiner_revision = "{COMMIT}"\nvae = "org/vae/one.safetensors"\n'
        f'vae_revision = "{COMMIT}"\n[models.sdxl.loras.lcm]\nfile = "org/lcm/it.safetensors"\n'
        f'revision = "{COMMIT}"\n'
    )
    entry = load_registry(_write(tmp_path, text)).get("sdxl")
    assert (entry.base, entry.refiner) == ("org/base", "org/fine")
    assert (entry.places["vae"].repository, entry.places["vae"].inside) == ("org/vae", "one.safetensors")
    assert entry.loras["lcm"].file == "org/lcm/it.safetensors"


def test_a_branch_is_no_revision(tmp_path: Path) -> None:
    with pytest.raises(InvalidInput) as refused:
        load_registry(_write(tmp_path, '[models.sdxl]\nbase = "org/base"\nrevision = "main"\n'))
    assert refused.value.field == "models.sdxl.revision"


def test_a_hub_id_is_looked_for_in_the_hubs_own_cache(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    place = Place("org/vae/one.safetensors", COMMIT)
    snapshot = f"models--org--vae/snapshots/{COMMIT}/one.safetensors"
    for name in ("HF_HUB_CACHE", "HF_HOME", "XDG_CACHE_HOME"):
        monkeypatch.delenv(name, raising=False)
    assert place.path == Path.home() / ".cache/huggingface/hub" / snapshot
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "c"))
    assert place.path == tmp_path / "c/huggingface/hub" / snapshot
    monkeypatch.setenv("HF_HOME", str(tmp_path / "b"))
    assert place.path == tmp_path / "b/hub" / snapshot
    monkeypatch.setenv("HF_HUB_CACHE", str(tmp_path / "a"))
    assert place.path == tmp_path / "a" / snapshot


def test_adapters_are_taken_from_the_place_of_the_file(tmp_path: Path) -> None:
    text = (
        TINY + '[models.tiny.loras."pixel.art"]\nfile = "a.safetensors"\n'
        '[models.tiny.embeddings.mood]\nfile = "m.safetensors"\n'
        '[models.tiny.embeddings.other]\nfile = "o.safetensors"\ntoken = "<s1>"\n'
    )
    entry = load_registry(_write(tmp_path, text)).get("tiny")
    assert entry.loras["pixel.art"].place.path == tmp_path / "a.safetensors"
    assert (entry.token_of("mood"), entry.token_of("other")) == ("<mood>", "<s1>")


def test_a_single_file_needs_configs(tmp_path: Path) -> None:
    with pytest.raises(InvalidInput, match="base_configs"):
        load_registry(_write(tmp_path, '[models.one]\nbase = "one.safetensors"\n'))
    text = '[models.one]\nbase = "one.safetensors"\nbase_configs = "tiny/base"\n'
    place = load_registry(_write(tmp_path, text)).get("one").places["base"]
    assert (place.path, place.config_folder) == (tmp_path / "one.safetensors", tmp_path / "tiny" / "base")


def test_the_shipped_entry_is_pinned_and_may_be_absent(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("HF_HUB_CACHE", str(tmp_path))
    entry = load_registry(Path(__file__).parents[2] / "models" / "models.toml").get("sdxl")
    assert set(entry.places) == {"base", "refiner", "vae"}
    assert all(place.revision for place in entry.places.values())
    assert entry.optional
    assert not entry.here
    for place in entry.places.values():
        place.path.mkdir(parents=True)
    assert entry.here


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


def test_a_licence_is_what_the_entry_states(tmp_path: Path) -> None:
    assert load_registry(_write(tmp_path, TINY)).get("tiny").licence is None
    stated = load_registry(_write(tmp_path, TINY + 'licence = "openrail++"\n'))
    assert stated.get("tiny").licence == "openrail++"
    with pytest.raises(InvalidInput) as refused:
        load_registry(_write(tmp_path, TINY + 'licence = ""\n'))
    assert refused.value.field == "models.tiny.licence"
