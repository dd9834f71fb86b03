"""The short run. What it draws is always the same; processes race, so what happens is not."""

from __future__ import annotations

import json
import subprocess
import sys
from typing import TYPE_CHECKING

import pytest

from tests.chaos.place import ROOT

if TYPE_CHECKING:
    from pathlib import Path

pytestmark = pytest.mark.clock
SEED = "1"


def test_nothing_is_lost_under_fire(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "tests.chaos", "short", "--seed", SEED, "--keep", str(tmp_path / "run")]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    sys.stdout.write(f"{' '.join(command)}\n{done.stderr[-4000:]}\n{done.stdout}\n")
    found = json.loads(done.stdout.strip().split("\n")[-1])
    assert {name: bound for name, bound in found["bounds"].items() if not bound["met"]} == {}
    assert done.returncode == 0
    assert sum(found["figures"]["faults"].values()) >= 25, "too few faults were injected to say anything"
    assert found["figures"]["renders"] == 300
