from __future__ import annotations

from typing import TYPE_CHECKING

from latentfarm.spec import RefinerSpec

if TYPE_CHECKING:
    from tests.acceptance.farm import Farm


def test_jobs_pass_through_base_and_refine_in_separate_workers(farm: Farm) -> None:
    farm.scheduler()
    farm.worker("base")
    farm.worker("refine")
    for _ in range(10):
        farm.submit(4, send=False, refiner=RefinerSpec())
    farm.wait_done(40)
    farm.assert_sound(40)
    assert farm.count("SELECT count(*) FROM attempts WHERE outcome = 'handed_over'") == 40
    assert farm.count("SELECT count(*) FROM attempts WHERE outcome = 'succeeded'") == 40
