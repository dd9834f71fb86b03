"""How much of a queue's room may be used: latents must not pile up, and no lane has the farm to itself for ever."""

from __future__ import annotations

from latentfarm.states import Lane

PILE = 2
"""So many windows of the refiner may wait for it, while somebody refines: then it goes before the base stage."""
LATENTS_MOST = 10_000
"""Most renders that wait for the refiner of a model in one lane: 1.3 GB of latents at 1024x1024."""
WEIGHTS = {Lane.INTERACTIVE: 8.0, Lane.BULK: 1.0}
"""Parts of a model's GPU-seconds while both lanes have work for longer than `PATIENCE_S`."""
PATIENCE_S = 60.0
"""GPU-seconds per worker that bulk work waits for before interactive work must leave it its part."""


def latents_room(waiting: int, window: int, refiners: int) -> int:
    """How many more renders may be sent into the base stage that will wait for the refiner.

    Args:
        waiting: renders that wait for it, in SQL.
        window: of the refine queue.
        refiners: live workers that serve it. Without any, base goes on until the latents are too many.
    """
    limit = min(LATENTS_MOST, PILE * window) if refiners else LATENTS_MOST
    return max(0, limit - waiting)


def interactive_room(room: int, *, in_flight: int, capacity: int, bulk_owed_s: float, workers: int) -> int:
    """What of its window the interactive lane may use.

    All of it, until bulk work of the same model has been kept waiting for long. Then interactive renders leave
    it a place in every worker: bulk is claimed only where less is held than fits.

    Args:
        in_flight: interactive renders dispatched or running.
        capacity: bulk renders that the workers hold at once; 0: not known.
        bulk_owed_s: GPU-seconds that the bulk lane is owed.
    """
    if capacity == 0 or bulk_owed_s <= PATIENCE_S * workers:
        return room
    part = WEIGHTS[Lane.INTERACTIVE] / sum(WEIGHTS.values())
    return max(0, min(room, max(workers, int(part * capacity)) - in_flight))
