"""The collector of cycles pauses while libraries are imported, and only then."""

from __future__ import annotations

import gc
import subprocess
import sys
from typing import TYPE_CHECKING

from worker.libraries import import_libraries

if TYPE_CHECKING:
    import pytest

LOOK = """
import gc
collections = []
gc.callbacks.append(lambda phase, told: collections.append(phase))
from worker.libraries import import_libraries
collections.clear()
import_libraries()
print(len(collections), gc.isenabled(), gc.get_freeze_count() > 100_000)
import diffusers, sys
before = set(sys.modules)
diffusers.StableDiffusionXLPipeline, diffusers.StableDiffusionXLImg2ImgPipeline
from worker.engine.networks import classes
classes()
print(len(set(sys.modules) - before))
"""


def test_nothing_is_collected_while_libraries_come_in_and_none_comes_later() -> None:
    told = subprocess.run([sys.executable, "-c", LOOK], capture_output=True, text=True, check=True).stdout
    assert told.splitlines() == ["0 True True", "0"]


def test_whoever_has_switched_it_off_finds_it_off(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(gc, "freeze", lambda: None)
    gc.disable()
    try:
        import_libraries()
        assert not gc.isenabled()
    finally:
        gc.enable()
    import_libraries()
    assert gc.isenabled()
