"""Plain Celery and Redis doing the work of the synthetic farm: what a render farm is without this project.

`early`: Celery's defaults, the message is acknowledged before the task runs. `late`: tuned with all that its
documentation offers against loss: late acknowledgement, rejection when a child dies, no prefetching, a short
visibility timeout with a sweep every second, socket timeouts and health checks.
"""

from __future__ import annotations

import os
import time
from pathlib import Path

from celery import Celery

VISIBILITY_S = 20
MODE = os.environ["PLAIN_MODE"]
LOG = os.environ["PLAIN_LOG"]
BUSY = Path(os.environ["PLAIN_BUSY"])
"""A folder with a file for each process that is at work, named by its pid."""

app = Celery("plain", broker=os.environ["PLAIN_BROKER"], set_as_current=False)
app.conf.update(
    task_ignore_result=True, worker_hijack_root_logger=False, broker_connection_retry_on_startup=True
)
if MODE == "late":
    app.conf.update(
        task_acks_late=True,
        task_reject_on_worker_lost=True,
        worker_prefetch_multiplier=1,
        broker_connection_max_retries=None,
        broker_transport_options={
            "visibility_timeout": VISIBILITY_S,
            "unacked_restore_interval": 1,
            "unacked_restore_throttle": 1,
            "socket_timeout": 10.0,
            "socket_connect_timeout": 5.0,
            "socket_keepalive": True,
            "health_check_interval": 10,
        },
    )


@app.task(name="plain.stage")
def stage(render: int, name: str, steps: int, step_s: float) -> None:
    """One stage of one render."""
    busy = BUSY / str(os.getpid())
    busy.touch()
    _note("start", render, name)
    for _ in range(steps):
        time.sleep(step_s)
    _note("end", render, name)
    busy.unlink(missing_ok=True)


def _note(what: str, render: int, name: str) -> None:
    line = f"{what} {render} {name} {time.time():.3f}\n"
    file = os.open(LOG, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
    os.write(file, line.encode())
    os.close(file)
