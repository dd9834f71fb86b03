"""A bad device costs no render its life; a bad render ends with the word of two devices."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from latentfarm.states import RenderState
from tests.acceptance.farm import until

if TYPE_CHECKING:
    from tests.acceptance.farm import Farm

pytestmark = pytest.mark.clock

QUARANTINED = "SELECT count(*) FROM workers WHERE end_reason = 'quarantined'"


@pytest.mark.parametrize("how", [pytest.param("nan", marks=pytest.mark.long), "device"])
def test_one_device_of_three_that_fails_everything_fails_no_job(farm: Farm, how: str) -> None:
    farm.scheduler()
    farm.worker(device="cpu:0", SYNTHETIC_BAD=how, LATENTFARM_QUARANTINE_S="600")
    farm.worker(device="cpu:1")
    farm.worker(device="cpu:2")
    farm.wait_ready(3)
    renders = 0
    while farm.count(QUARANTINED) == 0:
        farm.submit(4, send=False, prompt="sleep 5")
        renders += 4
        assert renders < 4000, "the bad device was never found out"
        farm.wait_done(120)
    farm.submit(20, send=False, prompt="sleep 5")
    farm.wait_done(120)
    farm.assert_sound(renders + 20)
    if how == "nan":
        # Of what ends with its process only what ran alone is charged, and here hardly anything does.
        assert farm.count("SELECT count(DISTINCT render_id) FROM attempts WHERE refunded") >= 3
    bad = "(SELECT id FROM workers WHERE device = 'cpu:0')"
    assert farm.count(f"SELECT count(*) FROM attempts WHERE charged AND worker_id NOT IN {bad}") == 0
    until(
        "the device rests",
        lambda: farm.count("SELECT count(*) FROM workers WHERE rest_until > now()") == 1,
        30,
    )
    live = f"SELECT count(*) FROM workers WHERE ended_at IS NULL AND id IN {bad}"
    assert farm.count(live) == 0


@pytest.mark.long
def test_a_farm_whose_only_device_rested_comes_back(farm: Farm) -> None:
    farm.scheduler()
    farm.worker(LATENTFARM_QUARANTINE_S="0.5")
    farm.wait_ready(1)
    for _ in range(3):
        farm.submit(1, send=False, prompt="nan")
    until("the device was blamed", lambda: farm.count(QUARANTINED) >= 1, 60)
    farm.submit(4, send=False)
    until(
        "a healthy job has ended",
        lambda: farm.count("SELECT count(*) FROM jobs WHERE state = 'succeeded'") == 1,
        90,
    )


def test_a_render_that_is_at_fault_ends_with_two_stories(farm: Farm) -> None:
    farm.scheduler()
    farm.worker(device="cpu:0")
    farm.worker(device="cpu:1")
    farm.wait_ready(2)
    bad = farm.submit(1, send=False, prompt="nan")
    for _ in range(5):
        farm.submit(4, send=False, prompt="sleep 5")
    farm.wait_done(120)
    (image,) = farm.repository.images(bad)
    assert image.state is RenderState.FAILED
    assert image.error is not None
    assert image.error.startswith("failed on 2 workers: cpu:")
    assert "cpu:0 of worker" in image.error
    assert "cpu:1 of worker" in image.error
    # Two, unless the other worker was so busy that the first one was offered it again after 20 s.
    assert farm.count("SELECT tries FROM renders WHERE state = 4") in {2, 3}
    assert farm.count("SELECT count(*) FROM renders WHERE state = 3") == 20
    assert farm.count(QUARANTINED) == 0
