"""OpenAI's format, for which a dataset is a batch; of other jobs its clients have no event."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from latentfarm.webhooks.told import REFUSED

if TYPE_CHECKING:
    from latentfarm.webhooks.told import Told

# As the batch says of itself: one that has run is `completed`, whatever became of its requests, and `failed` is one
# whose file was refused. What was taken back, `batch` among the facts tells: however its job ended.
_TYPES = {
    "job.succeeded": "batch.completed",
    "job.failed": "batch.completed",
    "job.cancelled": "batch.cancelled",
    REFUSED: "batch.failed",
}


def render(told: Told) -> tuple[str, dict[str, Any]] | None:
    """Type and body as the SDK's `webhooks.unwrap` parses them; None for what is no batch."""
    kind = _TYPES.get(told.event)
    if kind is None or told.job["kind"] != "dataset":
        return None
    if (taken_back := told.job.get("batch")) is not None:
        kind = f"batch.{taken_back}"
    body = {
        "id": f"evt_{told.id.hex}",
        "object": "event",
        "type": kind,
        "created_at": int(told.at.timestamp()),
        "data": {"id": batch_id(told.job["id"])},
    }
    return kind, body


def batch_id(job_id: str) -> str:
    """What OpenAI's routes call a dataset."""
    return f"batch_{job_id}"
