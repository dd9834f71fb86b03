"""Tasks that do nothing, or next to nothing, in a worker that acknowledges late.

Nothing else is turned on that costs time: no results, no events, no remote control.
"""

from __future__ import annotations

import functools
import os
from typing import Any

import psycopg
from celery import Celery

from benchmarks.plain.handing_in import QUEUE
from benchmarks.plain.storing import CLAIM

app = Celery("plain", broker=os.environ.get("PLAIN_BROKER"), set_as_current=False)
app.conf.update(
    task_acks_late=True,
    task_reject_on_worker_lost=True,
    task_ignore_result=True,
    task_default_queue=QUEUE,
    task_serializer="json",
    accept_content=["json"],
    worker_prefetch_multiplier=int(os.environ.get("PLAIN_PREFETCH", "4")),
    worker_enable_remote_control=False,
    worker_send_task_events=False,
    worker_hijack_root_logger=False,
    broker_connection_retry_on_startup=True,
)


@app.task(name="plain.nothing")  # type: ignore[untyped-decorator]  # celery has no types
def nothing(render: int) -> None:
    """One render that takes no time."""


@app.task(name="plain.claimed")  # type: ignore[untyped-decorator]  # celery has no types
def claimed(job: int) -> None:
    """One job whose start is committed before anything else is done."""
    _connection().execute(CLAIM, (job,))


@functools.cache
def _connection() -> psycopg.Connection[Any]:
    """Of this process; every statement commits."""
    return psycopg.connect(os.environ["PLAIN_DATABASE"], autocommit=True)
