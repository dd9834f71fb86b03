"""Hands tasks in, one call after the other, as applications do."""

from __future__ import annotations

import os
from typing import Any

QUEUE = "plain"


def task(broker: str, name: str = "nothing") -> Any:
    """A task of `benchmarks.plain.tasks`; the application reads where its broker is when it is imported."""
    os.environ["PLAIN_BROKER"] = broker
    from benchmarks.plain import tasks

    return getattr(tasks, name)


def hand_in(broker: str, count: int) -> None:
    """`apply_async` so many times, through one connection."""
    nothing = task(broker)
    with nothing.app.producer_or_acquire() as producer:
        for number in range(count):
            nothing.apply_async((number,), producer=producer)
