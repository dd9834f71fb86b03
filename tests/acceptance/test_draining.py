"""A device that an operator has drained: it gives back what it holds, and rests whatever is restarted."""

from __future__ import annotations

from typing import TYPE_CHECKING

import httpx
import pytest

from tests.acceptance.farm import until

if TYPE_CHECKING:
    from tests.acceptance.farm import Farm

pytestmark = pytest.mark.clock

LIVE = "SELECT count(*) FROM workers WHERE ended_at IS NULL"
RUNNING = "SELECT count(*) FROM renders WHERE state = 2"


def test_a_drained_device_rests_until_it_is_resumed(farm: Farm) -> None:
    scheduler, api = farm.scheduler(), farm.api()
    worker = farm.worker(LATENTFARM_RENEW_S="0.5")
    farm.wait_ready(1)
    farm.submit(8, prompt="sleep 500", lane="bulk", num_inference_steps=20)
    until("it has work", lambda: farm.count(RUNNING) > 0)
    httpx.post(f"{farm.url}/v1/workers/drain", json={"worker": "cpu"}).raise_for_status()
    until("it rests", lambda: farm.count(LIVE) == 0)
    assert farm.count(RUNNING) == 0
    assert worker.poll() is None
    assert farm.count("SELECT count(*) FROM workers WHERE end_reason <> 'drained'") == 0
    assert farm.count("SELECT coalesce(sum(tries), 0) FROM renders") == 0
    for process in (scheduler, api, worker):
        process.terminate()
        process.wait(30)
    farm.scheduler()
    farm.api()
    farm.worker(LATENTFARM_RENEW_S="0.5")
    shown = httpx.get(f"{farm.url}/v1/workers").json()["data"]
    assert [one["state"] for one in shown] == ["drained"]
    log = farm.folder / f"{len(farm.processes) - 1}-worker.log"
    until("it rests again", lambda: "device_drained" in log.read_text())
    assert farm.count(LIVE) == 0
    httpx.post(f"{farm.url}/v1/workers/resume", json={"worker": "cpu"}).raise_for_status()
    farm.wait_ready(1)
    until("it has work", lambda: farm.count(RUNNING) > 0)
