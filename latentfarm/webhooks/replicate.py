"""Replicate's format: the prediction, as its routes show it. Of jobs that are no predictions it has no words."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from latentfarm.webhooks.told import STARTED

if TYPE_CHECKING:
    from latentfarm.webhooks.told import Told

_END = ("job.succeeded", "job.failed", "job.cancelled")
_TYPES = {STARTED: "start", **dict.fromkeys(_END, "completed")}
PARTS = {"start": (STARTED,), "output": _END, "logs": _END, "completed": _END}
"""What a filter of Replicate's may name, and the events in which that is told: outputs and logs come with the end."""


def render(told: Told) -> tuple[str, dict[str, Any]] | None:
    """Type and prediction; the latter once there is somebody to write it, which is when it is sent."""
    kind = _TYPES.get(told.event)
    if kind is None or told.job["kind"] != "single":
        return None
    return kind, {} if told.predict is None else told.predict(told)
