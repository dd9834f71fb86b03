"""Messages that nobody of ours has sent: no code of theirs runs, no render that was held back, and the worker goes on."""

from __future__ import annotations

from typing import TYPE_CHECKING

from sqlalchemy import text

from tests.acceptance.farm import Farm, child_of, until
from tests.corpus.messages import forged, fuzzed

if TYPE_CHECKING:
    from pathlib import Path

    from latentfarm.broker import Broker
    from latentfarm.repository.facade import Repository

MESSAGES = 500
QUEUES = ("base.tiny.bulk", "base.tiny.interactive", "refine.tiny.bulk")
HELD = 24


def test_forged_messages_run_nothing_and_stop_nobody(
    farm: Farm, repository: Repository, broker: Broker, tmp_path: Path
) -> None:
    worker = farm.worker()
    farm.wait_ready(1)
    child = child_of(worker)
    held = farm.submit(HELD, send=False, lane="bulk")
    assert repository.pause_job(held, tenant="", paused=True)
    renders = repository.transact(
        lambda c: c.execute(text("SELECT id FROM renders ORDER BY id")).scalars().all()
    )
    canary = tmp_path / "canary"
    by_hand = forged(canary, [int(render) for render in renders])
    messages = [*by_hand, *fuzzed(by_hand, MESSAGES - len(by_hand))]
    assert len(messages) == MESSAGES
    for number, message in enumerate(messages):
        broker.redis.lpush(QUEUES[number % len(QUEUES)], message)
    until("the forged messages are taken", lambda: not any(map(broker.length, QUEUES)))
    farm.scheduler()
    farm.submit(5)
    until("good ones run", lambda: farm.count("SELECT count(*) FROM renders WHERE state = 3") == 5)
    assert not canary.exists()
    touched = "SELECT count(*) FROM renders WHERE job_id = :job AND (state <> 0 OR starts > 0 OR fence > 0)"
    assert farm.count(touched, job=held) == 0
    assert (worker.poll(), child_of(worker)) == (None, child)
