"""The services die under load and come back: nothing is lost, nothing is done twice."""

from __future__ import annotations

import json
import time
from typing import TYPE_CHECKING

import pytest

from latentfarm.envelope import Envelope
from latentfarm.messages import TASK
from latentfarm.spec import RefinerSpec
from tests.acceptance.farm import child_of, until

if TYPE_CHECKING:
    from latentfarm.broker import Broker
    from latentfarm.embedded.stack import Stack
    from tests.acceptance.farm import Farm

pytestmark = pytest.mark.clock


@pytest.mark.parametrize(
    "name", ["redis", *(pytest.param(name, marks=pytest.mark.long) for name in ("postgres", "s3"))]
)
def test_a_service_that_is_killed_costs_no_render(farm: Farm, stack: Stack, name: str) -> None:
    farm.scheduler()
    farm.worker()
    farm.wait_ready(1)
    for _ in range(15):
        farm.submit(4, send=False, prompt="sleep 20", num_inference_steps=10, refiner=RefinerSpec())
    until("some are running", lambda: farm.count("SELECT count(*) FROM renders WHERE state = 2") >= 4)
    for _ in range(2):
        stack.services[name].kill()
        stack.services[name].wait_ready()
        time.sleep(1)
    farm.repository.engine.dispose()
    farm.wait_done(150)
    farm.assert_sound(60)
    assert farm.count("SELECT count(*) FROM workers WHERE ended_at IS NOT NULL") == 0


@pytest.mark.long
def test_a_worker_that_hears_nothing_any_more_is_replaced(farm: Farm) -> None:
    farm.scheduler()
    worker = farm.worker("base")
    farm.wait_ready(1)
    deaf = child_of(worker)
    farm.submit(1, send=False, prompt="deaf")
    farm.wait_done()
    for _ in range(4):
        farm.submit(2, send=False)
    farm.wait_done(60)
    farm.assert_sound(9)
    assert child_of(worker) != deaf
    assert farm.count("SELECT count(*) FROM workers WHERE end_reason = 'exited with 4'") == 1
    assert farm.count("SELECT count(*) FROM attempts") == 9


@pytest.mark.long
def test_a_store_that_is_away_for_a_while_is_waited_for(farm: Farm, stack: Stack) -> None:
    farm.scheduler()
    farm.worker()
    farm.wait_ready(1)
    stack.services["s3"].hold()
    try:
        farm.submit(8, send=False, refiner=RefinerSpec())
        until("stage one is done", lambda: farm.count("SELECT count(*) FROM renders WHERE state = 2") == 8)
        time.sleep(8)
        assert farm.count("SELECT count(*) FROM attempts WHERE error_class IS NOT NULL") == 0
    finally:
        stack.services["s3"].release()
        stack.services["s3"].wait_ready()
    farm.wait_done(90)
    farm.assert_sound(8)


ENVELOPE = {
    "content-encoding": "utf-8",
    "content-type": "application/json",
    "headers": {"task": "latentfarm.deliver", "id": "x", "lang": "py", "argsrepr": "", "kwargsrepr": ""},
    "properties": {
        "correlation_id": "x",
        "delivery_mode": 2,
        "delivery_info": {"exchange": "", "routing_key": "base.tiny.interactive"},
        "priority": 0,
        "body_encoding": "base64",
        "delivery_tag": "t",
    },
}


def ruined() -> list[str]:
    """What may lie in a list of Redis that others can write to."""
    no_base64 = json.dumps({**ENVELOPE, "body": "not base64 at all!"})
    other_task = json.dumps({**ENVELOPE, "body": "W10=", "headers": {"task": "os.system", "id": "x"}})
    no_headers = json.dumps({"body": "W10=", "properties": ENVELOPE["properties"]})
    return ["garbage", "{}", "[]", "null", '"text"', no_base64, other_task, no_headers, "{" * 1000]


def test_ruined_messages_do_not_stop_a_worker(farm: Farm, broker: Broker) -> None:
    worker = farm.worker()
    farm.wait_ready(1)
    farm.scheduler()
    for text in ruined():
        broker.redis.lpush("base.tiny.interactive", text)
        broker.redis.lpush("refine.tiny.interactive", text)
    for payload in (None, {}, {"v": 99, "renders": [[1, 1]]}, {"v": 1, "renders": [[1, 0]] * 9}, {"v": 1}):
        broker.redis.lpush("base.tiny.interactive", Envelope(TASK).around(payload, "base.tiny.interactive"))
    farm.submit(4, send=False, refiner=RefinerSpec())
    farm.wait_done(90)
    farm.assert_sound(4)
    assert worker.poll() is None
    assert farm.count("SELECT count(*) FROM workers WHERE ended_at IS NOT NULL") == 0
