"""A trap kills one process, at its point, and says which."""

from __future__ import annotations

import signal
import subprocess
import sys
from typing import TYPE_CHECKING

from tests.chaos.place import ROOT
from tests.chaos.traps import Traps

if TYPE_CHECKING:
    from pathlib import Path

_WALK = """
import sys
from pathlib import Path
from tests.chaos.traps import Traps
traps = Traps(Path(sys.argv[1]))
traps.spring("left")
traps.spring("right", worker=7)
"""


def walk(folder: Path) -> int:
    return subprocess.run([sys.executable, "-c", _WALK, str(folder)], cwd=ROOT, check=False).returncode


def test_a_trap_is_sprung_once(tmp_path: Path) -> None:
    traps = Traps(tmp_path)
    traps.lay("right")
    assert walk(tmp_path) == -signal.SIGKILL
    assert walk(tmp_path) == 0
    assert [(line["point"], line["worker"]) for line in traps.sprung().values()] == [("right", 7)]


def test_a_trap_that_was_lifted_kills_nobody(tmp_path: Path) -> None:
    traps = Traps(tmp_path)
    traps.lay("left")
    assert traps.lift("left")
    assert not traps.lift("left")
    assert walk(tmp_path) == 0
    assert traps.sprung() == {}
