"""Machines whose clocks are an hour off: leases and ages are measured by the database and by nobody else."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from latentfarm.spec import RefinerSpec
from tests.acceptance.farm import ROOT

if TYPE_CHECKING:
    from pathlib import Path

    from tests.acceptance.farm import Farm

#: Read by every Python that finds it. The clock of requests to the store is left alone: a store refuses them when they
#: are 15 minutes off, and `latentfarm doctor` says so.
SHIFTED = """
import time

pytestmark = pytest.mark.clock
_real = time.time
time.time = lambda: _real() + {shift}
"""


def shifted(folder: Path, shift: int) -> str:
    """A PYTHONPATH under which the clock is so many seconds off."""
    folder.mkdir()
    (folder / "sitecustomize.py").write_text(SHIFTED.format(shift=shift))
    return f"{folder}:{ROOT}"


@pytest.mark.long
def test_a_clock_that_is_off_takes_no_render_from_anybody(farm: Farm, tmp_path: Path) -> None:
    ahead, behind = shifted(tmp_path / "ahead", 3600), shifted(tmp_path / "behind", -3600)
    farm.scheduler(PYTHONPATH=ahead)
    farm.scheduler(PYTHONPATH=behind)
    farm.worker(PYTHONPATH=ahead)
    farm.worker(PYTHONPATH=behind)
    farm.wait_ready(2)
    for _ in range(6):
        farm.submit(4, send=False, prompt="sleep 20", num_inference_steps=20, refiner=RefinerSpec())
    farm.wait_done(120)
    farm.assert_sound(24)
    assert farm.count("SELECT count(*) FROM workers WHERE ended_at IS NOT NULL") == 0
    assert farm.count("SELECT count(*) FROM attempts WHERE outcome = 'lost'") == 0
    assert farm.count("SELECT count(DISTINCT worker_id) FROM attempts") == 2
    assert farm.count("SELECT max(starts) FROM renders") == 2
