"""What makes a parent part with a child that lives, and with a device that does not."""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING

import pytest

from latentfarm.registry import load_registry
from latentfarm.states import Stage
from tests.acceptance.farm import ROOT, child_of, until
from worker.parent import Parent

if TYPE_CHECKING:
    from collections.abc import Iterator

    from latentfarm.settings import Settings
    from tests.acceptance.farm import Farm

pytestmark = pytest.mark.clock

REASONS = "SELECT count(*) FROM workers WHERE end_reason = :reason"


def test_a_child_that_has_grown_too_large_is_recycled(farm: Farm) -> None:
    farm.scheduler()
    # Any child is larger than that, so each drains at its first renewal.
    worker = farm.worker(LATENTFARM_CHILD_RSS_GIB="0.01", LATENTFARM_RENEW_S="6", LATENTFARM_LEASE_S="30")
    farm.wait_ready(1)
    first = child_of(worker)
    farm.submit(8, send=False, prompt="sleep 20", num_inference_steps=20)
    until("it was recycled", lambda: farm.count(REASONS, reason="recycled") >= 1, 90)
    until("the next one is there", lambda: _child(worker) not in (None, first), 90)
    # What it had not finished went back uncharged.
    assert farm.count("SELECT coalesce(sum(tries), 0) FROM renders") == 0
    assert farm.count("SELECT count(*) FROM attempts WHERE outcome = 'lost'") == 0


def _child(worker: object) -> int | None:
    try:
        return child_of(worker)  # type: ignore[arg-type]  # the farm's own process
    except IndexError:
        return None


@pytest.fixture
def parent(farm: Farm, settings: Settings, monkeypatch: pytest.MonkeyPatch) -> Iterator[Parent]:
    """A parent in this process, whose Xids the test makes up."""
    for name in ("LATENTFARM_ENGINE", "LATENTFARM_MODELS", "OMP_NUM_THREADS"):
        monkeypatch.setenv(name, farm.environment[name])
    for name, value in farm.environment.items():
        if name.startswith("LATENTFARM_"):
            monkeypatch.setenv(name, value)
    models = [load_registry(ROOT / "models" / "models.toml").get("tiny")]
    stages = [Stage.BASE, Stage.REFINE]
    parent = Parent(farm.repository, settings, device="cpu", stages=stages, models=models)
    running = threading.Thread(target=parent.run)
    running.start()
    yield parent
    parent.stop()
    running.join(60)
    assert not running.is_alive()


def test_an_error_of_the_driver_costs_the_child_or_the_device(farm: Farm, parent: Parent) -> None:
    farm.scheduler()
    farm.wait_ready(1)
    parent.xids.hear(45)
    parent.xids.hear(31)
    until("the child was replaced", lambda: farm.count(REASONS, reason="xid 31") == 1, 30)
    farm.wait_ready(1)
    farm.submit(1, send=False)
    farm.wait_done(60)
    parent.xids.hear(79)
    until("the device is drained", lambda: farm.count(REASONS, reason="xid 79") == 1, 60)
    unheard = "SELECT count(*) FROM workers WHERE ended_at IS NULL"
    assert farm.count(unheard) == 0
    farm.submit(1, send=False)
    until("it waits", lambda: farm.count("SELECT count(*) FROM renders WHERE state = 1") == 1, 30)
    assert farm.count(unheard) == 0, "no further child was started"
