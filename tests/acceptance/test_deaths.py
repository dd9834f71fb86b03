"""kill -9, SIGSTOP and FLUSHALL under load: every job succeeds, once, and soon."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
import time
from typing import TYPE_CHECKING

import pytest

from latentfarm.spec import RefinerSpec
from tests.acceptance.farm import ROOT, child_of, family, until

if TYPE_CHECKING:
    from latentfarm.broker import Broker
    from tests.acceptance.farm import Farm

pytestmark = pytest.mark.clock

CHILD_S = 15
"""p99 from the death of a child to the next claim of its renders."""
HOST_S = 40
"""The same when the parent died with it, or was frozen."""

# From the moment at which an attempt was lost to the next claim of the same render.
RECLAIMED = """
    SELECT coalesce(max(EXTRACT(EPOCH FROM b.started_at - (SELECT to_timestamp(:died)))), -1)
    FROM attempts a JOIN attempts b ON b.render_id = a.render_id AND b.fence > a.fence
    WHERE a.outcome = 'lost' AND NOT EXISTS (
        SELECT FROM attempts m WHERE m.render_id = a.render_id AND m.fence > a.fence AND m.fence < b.fence)
"""


def loaded(farm: Farm, renders: int) -> None:
    """Jobs that take seconds, so that a death hits them in flight."""
    for _ in range(renders // 4):
        farm.submit(4, send=False, prompt="sleep 40", num_inference_steps=20, refiner=RefinerSpec())
    until("renders are running", lambda: farm.count("SELECT count(*) FROM renders WHERE state = 2") >= 4)


def test_a_killed_child_costs_seconds(farm: Farm) -> None:
    farm.scheduler()
    first, _ = farm.worker(), farm.worker()
    farm.wait_ready(2)
    # As many as two workers hold: those in flight run one by one next, so each costs the last one its time.
    loaded(farm, 24)
    died = time.time()
    os.kill(child_of(first), signal.SIGKILL)
    farm.wait_done(90)
    farm.assert_sound(24)
    lost = farm.count("SELECT count(*) FROM attempts WHERE outcome = 'lost'")
    assert lost > 0
    assert farm.count("SELECT sum(tries) FROM renders") == 0
    assert 0 <= farm.count(RECLAIMED, died=died) <= CHILD_S


@pytest.mark.long
def test_a_killed_parent_with_its_child_costs_a_lease(farm: Farm) -> None:
    farm.scheduler()
    first, _ = farm.worker(), farm.worker()
    farm.wait_ready(2)
    loaded(farm, 40)
    pids = [process.pid for process in family(first.pid)]
    died = time.time()
    for pid in pids:
        os.kill(pid, signal.SIGKILL)
    farm.wait_done(120)
    farm.assert_sound(40)
    assert 0 <= farm.count(RECLAIMED, died=died) <= HOST_S


def test_a_child_dies_with_its_parent(farm: Farm) -> None:
    worker = farm.worker()
    farm.wait_ready(1)
    child = child_of(worker)
    worker.kill()
    until("the child is gone", lambda: not [p for p in family(child) if p.status() != "zombie"], 10)


@pytest.mark.long
def test_a_child_that_hangs_is_killed(farm: Farm) -> None:
    farm.scheduler()
    farm.worker(LATENTFARM_STALL_S="2")
    farm.wait_ready(1)
    farm.submit(1, send=False, prompt="hang")
    farm.submit(4, send=False, prompt="sleep 5")
    until(
        "the poison render failed",
        lambda: farm.count("SELECT count(*) FROM jobs WHERE state = 'failed'") == 1,
        100,
    )
    farm.wait_done(60)
    assert farm.count("SELECT count(*) FROM jobs WHERE state = 'succeeded'") == 1
    assert farm.count("SELECT max(starts) FROM renders") <= 6
    assert farm.count("SELECT sum(tries) FROM renders WHERE state = 3") == 0


def test_a_killed_scheduler_is_not_missed_for_long(farm: Farm) -> None:
    scheduler = farm.scheduler()
    farm.worker()
    farm.wait_ready(1)
    loaded(farm, 40)
    scheduler.kill()
    farm.scheduler()
    farm.wait_done(60)
    farm.assert_sound(40)


@pytest.mark.long
def test_a_frozen_scheduler_holds_up_nobody(farm: Farm) -> None:
    active = farm.scheduler()
    until(
        "it listens", lambda: farm.count("SELECT count(*) FROM pg_stat_activity WHERE query LIKE 'LISTEN%'")
    )
    farm.scheduler()
    farm.worker()
    farm.wait_ready(1)
    loaded(farm, 20)
    active.send_signal(signal.SIGSTOP)
    for _ in range(5):
        farm.submit(4, send=False, refiner=RefinerSpec())
    farm.wait_done(HOST_S + 20)
    active.send_signal(signal.SIGCONT)
    farm.assert_sound(40)


@pytest.mark.parametrize("when", [pytest.param("before", marks=pytest.mark.long), "while"])
def test_flushall_loses_nothing(farm: Farm, broker: Broker, when: str) -> None:
    farm.scheduler()
    if when == "while":
        farm.worker()
        farm.wait_ready(1)
    for _ in range(50):
        farm.submit(4, send=False, prompt="sleep 20", refiner=RefinerSpec())
    if when == "while":
        until("some are running", lambda: farm.count("SELECT count(*) FROM renders WHERE state = 2") >= 4)
    else:
        until("the window is full", lambda: farm.count("SELECT count(*) FROM renders WHERE state = 1") >= 24)
    for _ in range(3):
        broker.redis.flushall()
        time.sleep(0.3)
    if when == "before":
        farm.worker()
    farm.wait_done(120)
    farm.assert_sound(200)


def test_an_api_that_dies_between_commit_and_publish_loses_nothing(farm: Farm) -> None:
    farm.scheduler()
    farm.worker()
    farm.wait_ready(1)
    script = "from tests.acceptance import dying_api; dying_api.main()"
    api = subprocess.Popen([sys.executable, "-c", script], cwd=ROOT, env=farm.environment)
    farm.processes.append(api)
    import httpx

    def killed() -> bool:
        with contextlib.suppress(httpx.HTTPError):
            httpx.post(f"{farm.url}/v1/jobs", json={"prompt": "x", "width": 64, "height": 64}, timeout=10)
        return api.poll() is not None

    until("the API has killed itself after a commit", killed, 60)
    assert api.wait() == -signal.SIGKILL
    accepted = farm.count("SELECT count(*) FROM renders")
    assert accepted >= 1
    farm.wait_done(60)
    farm.assert_sound(accepted)


@pytest.mark.long
def test_a_frozen_worker_that_wakes_writes_nothing(farm: Farm) -> None:
    farm.scheduler()
    first = farm.worker(LATENTFARM_LEASE_S="4", LATENTFARM_RENEW_S="1")
    farm.wait_ready(1)
    loaded(farm, 8)
    frozen = family(first.pid)
    for process in frozen:
        process.suspend()
    farm.worker()
    until(
        "its renders were taken back",
        lambda: farm.count("SELECT count(*) FROM workers WHERE end_reason = 'lease expired'") == 1,
        HOST_S,
    )
    for process in frozen:
        process.resume()
    farm.wait_done(90)
    farm.assert_sound(8)
