"""A load that never runs dry: a new job whenever fewer renders are open than there should be."""

from __future__ import annotations

from itertools import count
from random import Random
from typing import TYPE_CHECKING

import psycopg

from tests.chaos.plan import Submission

if TYPE_CHECKING:
    import threading
    from collections.abc import Iterator

    from tests.chaos.world import World

_OPEN = "SELECT count(*) AS n FROM renders WHERE state IN (0, 1, 2)"
LOOK_S = 0.2
SENT_S = 0.05
"""Until a job that was sent is likely to count."""


def body(rng: Random, prompt: str, **fields: object) -> dict[str, object]:
    """A job for the synthetic engine."""
    common = {"model": "tiny", "width": 64, "height": 64, "lane": "bulk", "refiner": None}
    return {
        **common, "prompt": prompt, "num_images": 4, "num_inference_steps": 12, "seed": rng.randrange(2**40), **fields
    }  # fmt: skip


def feed(
    world: World, seed: int, least: int, stopping: threading.Event, prompt: str = "sleep 20", **fields: object
) -> Iterator[Submission]:
    """Submissions for `Load`, one whenever fewer than `least` renders are open, until told to stop.

    Args:
        prompt: see tests/synthetic.py.
        fields: of the request, in place of the usual ones.
    """
    rng = Random(f"{seed}/feed")
    for number in count():
        while not stopping.is_set() and _open(world) >= least:
            stopping.wait(LOOK_S)
        if stopping.is_set():
            return
        yield Submission(f"feed-{seed}-{number}", 0.0, body(rng, prompt, **fields))
        stopping.wait(SENT_S)


def _open(world: World) -> int:
    try:
        return int(world.rows(_OPEN)[0]["n"])
    except psycopg.OperationalError:
        return 0  # A database that is away: the users of the API go on.
