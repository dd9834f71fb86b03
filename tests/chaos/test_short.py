"""The short run, with a seed of its own each day: what fails can be run again with the seed that is printed."""

from __future__ import annotations

import json
import subprocess
import sys
import time
from typing import TYPE_CHECKING

from tests.chaos.place import ROOT

if TYPE_CHECKING:
    from pathlib import Path

LIMIT_S = 170


def test_nothing_is_lost_under_fire(tmp_path: Path) -> None:
    seed = time.strftime("%Y%m%d", time.gmtime())
    command = [sys.executable, "-m", "tests.chaos", "short", "--seed", seed, "--keep", str(tmp_path / "run")]
    began = time.monotonic()
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    took_s = time.monotonic() - began
    sys.stdout.write(f"{' '.join(command)}\n{done.stderr[-4000:]}\n{done.stdout}\n")
    found = json.loads(done.stdout.strip().split("\n")[-1])
    assert {name: bound for name, bound in found["bounds"].items() if not bound["met"]} == {}
    assert done.returncode == 0
    assert sum(found["figures"]["faults"].values()) >= 25, "too few faults were injected to say anything"
    assert found["figures"]["renders"] == 300
    assert took_s < LIMIT_S
