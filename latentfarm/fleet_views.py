"""What the API answers about workers and queues, and what the client reads."""

from __future__ import annotations

from datetime import datetime  # noqa: TC003 - pydantic needs the type at run time
from typing import Literal

from pydantic import Field

from latentfarm.spec import StrictModel
from latentfarm.views import View

WorkerState = Literal["loading", "ready", "silent", "draining", "drained"]


class WorkerView(View):
    """A live worker process, or a drained device that none serves."""

    id: int | None = Field(None, description="Of this life of the process; null: a drained device at rest.")
    host: str = Field(description="The machine.")
    device: str = Field(description="The device on it, such as `cuda:0`.")
    state: WorkerState = Field(
        description="`silent`: its lease is over; `draining`: drained, and not at rest yet."
    )
    stages: list[str] = Field(description="Stages that it serves.")
    models: list[str] = Field(description="Models that it serves.")
    running: int = Field(description="Renders that it holds.")
    drained_at: datetime | None = Field(None, description="Since when its device gets nothing new.")


class WorkerList(View):
    """Workers, by host and device."""

    object: Literal["list"] = Field("list", description="Always `list`.")
    data: list[WorkerView] = Field(description="The workers.")


class WorkerChoice(StrictModel):
    """Which devices are meant."""

    worker: str = Field(
        min_length=1,
        max_length=300,
        description="Id of a worker, a host, a device, or `host/device`; all devices that fit are meant.",
    )


class QueueView(View):
    """A queue."""

    name: str = Field(description="`<stage>.<model>.<lane>`, or `seal`.")
    queued: int = Field(description="Renders whose turn has not come.")
    dispatched: int = Field(description="Renders that are sent, and that no worker has taken.")
    running: int = Field(description="Renders that workers hold.")
    wait_s: float = Field(description="Seconds from message to claim, in the last minute.")
    drained_at: datetime | None = Field(None, description="Since when nothing more is sent from it.")


class QueueList(View):
    """All queues."""

    object: Literal["list"] = Field("list", description="Always `list`.")
    data: list[QueueView] = Field(description="The queues, by name.")
