"""The farm's own format: the event's name, and the job without its prompts."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from latentfarm.webhooks.told import Told


def render(told: Told) -> tuple[str, dict[str, Any]]:
    """Type and body of a payload, as Standard Webhooks lays it out."""
    dataset = told.job.get("dataset")
    path = f"jobs/{told.job['id']}" if dataset is None else f"datasets/{dataset}"
    data = {"object": "job", **told.job, "url": f"{told.api_url.rstrip('/')}/v1/{path}"}
    return told.event, {"type": told.event, "timestamp": told.at.isoformat(), "data": data}
