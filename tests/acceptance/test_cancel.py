"""Cancel at any moment: never an output afterwards, and the neighbours do not notice."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

import pytest

from latentfarm.spec import RefinerSpec
from tests.acceptance.farm import until

if TYPE_CHECKING:
    from uuid import UUID

    from tests.acceptance.farm import Farm

pytestmark = pytest.mark.clock


def cancel(farm: Farm, job_id: UUID) -> None:
    assert farm.repository.mark_cancelled(job_id, tenant="")
    farm.repository.cancel_renders(job_id)


@pytest.mark.parametrize("moment_s", [0.0, 0.8])
def test_a_cancelled_job_makes_no_picture_and_harms_no_neighbour(farm: Farm, moment_s: float) -> None:
    farm.scheduler()
    farm.worker()
    farm.wait_ready(1)
    slow = {"prompt": "sleep 50", "num_inference_steps": 20, "refiner": RefinerSpec()}
    unwanted = farm.submit(3, send=False, **slow)
    farm.submit(3, send=False, **slow)
    time.sleep(moment_s)
    cancel(farm, unwanted)
    pictures = "SELECT count(*) FROM objects o JOIN renders r ON r.id = o.render_id WHERE r.job_id = :id"
    shown = pictures + " AND o.kind = 'image' AND o.state = 'visible'"
    assert farm.count(shown, id=unwanted) == 0
    farm.wait_done(60)
    assert farm.count(shown, id=unwanted) == 0
    assert farm.count("SELECT count(*) FROM jobs WHERE state = 'cancelled'") == 1
    assert farm.count("SELECT count(*) FROM jobs WHERE state = 'succeeded'") == 1
    assert farm.count("SELECT sum(tries) FROM renders") == 0


def test_a_running_render_stops_within_a_second(farm: Farm) -> None:
    farm.scheduler()
    farm.worker()
    farm.wait_ready(1)
    job_id = farm.submit(2, prompt="sleep 100", num_inference_steps=200)
    until("it runs", lambda: farm.count("SELECT count(*) FROM renders WHERE state = 2") == 2)
    cancel(farm, job_id)
    until("the worker has let go", lambda: held(farm) == 0, 6)
    # 200 steps of 100 ms would have taken 20 s.
    assert farm.count("SELECT (info->'counters'->>'steps')::int FROM workers WHERE ready") < 100


def held(farm: Farm) -> int:
    sql = (
        "SELECT coalesce((info->'counters'->>'held')::int, -1) FROM workers WHERE ready AND ended_at IS NULL"
    )
    return farm.count(sql)
