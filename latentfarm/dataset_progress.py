"""What a dataset is at: its state, and how fast it goes."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from latentfarm.dataset_views import FINAL, DatasetState, Rate
from latentfarm.quotas import ask_of_sample
from latentfarm.repository import outlook, quotas, sets
from latentfarm.repository.tenancy import dataset_room

if TYPE_CHECKING:
    from datetime import datetime

    from sqlalchemy import Connection

    from latentfarm.repository.sets import Dataset, Progress

NOTHING = sets.Progress(ended=0, failed=0, packed=0, seconds=0.0, redrawn=0, sealed=0, shards=0)


@dataclass(frozen=True, slots=True)
class Look:
    """All that is told of a dataset, read in one transaction.

    Attributes:
        failures: images by class.
        failed_shards: `number`, `part`, `error_class` and `message` of each.
        now: by the database.
        held: why nothing of it comes in for now; empty: it does, or all is in.
    """

    dataset: Dataset
    progress: Progress
    failures: dict[str, int]
    failed_shards: list[dict[str, Any]]
    now: datetime
    held: str = ""


def look(connection: Connection, name: str, *, tenant: str) -> Look | None:
    """The tenant's dataset of that name; None when there is none."""
    dataset = sets.find(connection, name, tenant=tenant)
    if dataset is None:
        return None
    progress = sets.progress(connection, dataset.id)
    failures: dict[str, int] = {}
    if progress.failed:
        size = int(dataset.request["shard_samples"])
        failures = outlook.failure_classes(connection, dataset.id, shard_samples=size)
    lost = outlook.failed_shards(connection, dataset.id) if progress.sealed < progress.shards else []
    return Look(dataset, progress, failures, lost, outlook.now(connection), _held(connection, dataset))


def _held(connection: Connection, dataset: Dataset) -> str:
    if dataset.phase != "inserting":
        return ""
    own = 0 if dataset.paused_at is None else dataset.queued or 0
    more = dataset.images - dataset.inserted
    held = dataset_room(connection, dataset.tenant, more, own=own)[1]
    if held or (quota := quotas.get(connection, [dataset.tenant]).get(dataset.tenant)) is None:
        return held
    return quotas.room(quota, quotas.used(connection, quota), more, ask_of_sample(dataset.report))[1]


def state_of(dataset: Dataset) -> DatasetState:
    """The state that users see. A manifest that is read again does not change that of what is there."""
    if dataset.state is None:
        return "rejected" if dataset.phase == "rejected" else "checking"
    if dataset.paused_at is not None and dataset.finished_at is None:
        return "paused"
    state: DatasetState = dataset.state  # type: ignore[assignment]  # the states of jobs are among them
    return state


def rate_of(look: Look) -> Rate:
    """Images per second since the first one began, and what is left at that rate."""
    dataset, ended = look.dataset, look.progress.ended
    if dataset.started_at is None or not ended:
        return Rate(basis="no image has ended yet")
    seconds = max(((dataset.finished_at or look.now) - dataset.started_at).total_seconds(), 1e-3)
    rate = ended / seconds
    left = dataset.images - ended
    done = state_of(dataset) in FINAL
    eta_s = None if done or state_of(dataset) == "paused" else round(left / rate, 1)
    span = "until the last shard was sealed" if dataset.finished_at else "until now"
    basis = f"{ended} images that ended, over the {seconds:.0f} s from when the first one began {span}"
    return Rate(images_per_second=round(rate, 3), eta_s=eta_s, basis=basis)
