"""What is installed is what is locked, what is locked is what is asked for, and all of it is in the bill of materials."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from importlib import metadata
from importlib.resources import files
from urllib.parse import urljoin

import jsonschema_rs
import pytest

from tests.dependencies import LOCK, ROOT, TORCH, asked, pins

# Parts that builds of torch for a GPU bring and pin themselves.
OF_TORCH = re.compile(r"nvidia-|cuda-|triton|pytorch-triton|rocm")
# What comes with Python.
OF_PYTHON = {"pip"}


def test_every_package_is_locked_by_hashes_and_torch_alone_by_version() -> None:
    assert {name for name, pin in pins(LOCK).items() if not pin.hashes} == set()
    assert set(pins(TORCH)) == {"torch"}
    assert not set(pins(LOCK)) & set(pins(TORCH))


def test_the_lock_names_no_place_and_nothing_for_a_gpu() -> None:
    """Indexes are a matter of the machine, and a CPU needs none of the gigabytes."""
    assert re.findall(r"https?:|file:|^\s*--(?!hash)", LOCK.read_text(), re.MULTILINE) == []
    assert [name for name in pins(LOCK) if OF_TORCH.match(name)] == []


def test_the_lock_is_what_is_asked_for_no_more_and_no_less() -> None:
    """To write it anew: make lock."""
    needed = {name for name in asked("all", "dev") if not OF_TORCH.match(name)}
    assert needed - OF_PYTHON == set(pins(LOCK)) | set(pins(TORCH))


def test_every_pin_is_a_version_that_all_who_ask_for_it_take() -> None:
    pinned = pins(LOCK) | pins(TORCH)
    unfit = [
        f"{one} is pinned at {pinned[name].version}"
        for name, requirements in asked("all", "dev").items()
        for one in requirements
        if name in pinned and not one.specifier.contains(pinned[name].version, prereleases=True)
    ]
    assert unfit == []


def test_what_is_installed_is_what_is_pinned() -> None:
    pinned = pins(LOCK) | pins(TORCH)
    # A build of torch says which one it is behind a plus.
    found = {name: metadata.version(name).split("+")[0] for name in pinned}
    assert found == {name: pin.version for name, pin in pinned.items()}


def test_make_installs_by_hash_and_resolves_nothing() -> None:
    shown = subprocess.run(
        ["make", "--dry-run", "--assume-new", "requirements.lock", "install"],
        cwd=ROOT, capture_output=True, text=True, check=True,
    )  # fmt: skip
    installs = re.findall(r"pip install .*?(?= \|)", shown.stdout)
    by_lock, torch, ours = installs
    assert {"--require-hashes", "--no-deps", "--only-binary", "requirements.lock"} <= set(by_lock.split())
    assert torch.endswith("--requirement torch.txt")
    assert {"--no-deps", "--no-build-isolation"} <= set(ours.split())


@pytest.fixture(scope="module")
def bill(tmp_path_factory: pytest.TempPathFactory) -> str:
    """What `make sbom` writes of the environment that this test runs in."""
    path = tmp_path_factory.mktemp("bill") / "sbom.cdx.json"
    shown = subprocess.run(
        ["make", "--dry-run", "sbom"], cwd=ROOT, capture_output=True, text=True, check=True
    )
    said = re.findall(r"bin/cyclonedx-py ((?:.*\\\n)*.*)", shown.stdout)[0].replace("\\\n", " ").split()
    meant = {"dist/sbom.cdx.json": str(path), ".venv/bin/python": sys.executable}
    command = [sys.executable, "-m", "cyclonedx_py", *(meant.get(one, one) for one in said)]
    subprocess.run(command, cwd=ROOT, check=True, capture_output=True)
    return path.read_text()


def test_the_bill_of_materials_fits_the_schema_of_cyclonedx(bill: str) -> None:
    names = ["bom-1.6.SNAPSHOT.schema.json", "spdx.SNAPSHOT.schema.json", "jsf-0.82.SNAPSHOT.schema.json"]
    main, *others = (json.loads((files("cyclonedx.schema") / "_res" / name).read_text()) for name in names)
    # They name each other by file, beside the first one.
    registry = jsonschema_rs.Registry(
        [(urljoin(main["$id"], name), one) for name, one in zip(names[1:], others, strict=True)]
    )
    judge = jsonschema_rs.validator_for(main, registry=registry, validate_formats=True)
    assert [error.message for error in judge.iter_errors(json.loads(bill))] == []
    assert not judge.is_valid({**json.loads(bill), "components": [{"type": "nonsense", "name": "a"}]})


def test_the_bill_of_materials_names_every_package_with_its_version(bill: str) -> None:
    found = json.loads(bill)
    named = {
        re.sub(r"[-_.]+", "-", one["name"]).lower(): one["version"].split("+")[0]
        for one in found["components"]
    }
    missing = {
        name: pin.version
        for name, pin in (pins(LOCK) | pins(TORCH)).items()
        if named.get(name) != pin.version
    }
    assert missing == {}
    assert found["bomFormat"] == "CycloneDX"


def test_the_bill_of_materials_tells_nothing_of_the_machine(bill: str) -> None:
    assert "file:" not in bill
