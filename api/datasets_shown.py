"""From the records of datasets to what users see, in answers that stay small."""

from collections.abc import Iterable
from typing import Any, TypeVar

from pydantic import BaseModel
from starlette.datastructures import URL

from latentfarm.dataset_progress import Look, rate_of, state_of
from latentfarm.dataset_views import (
    DatasetCounts,
    DatasetPlan,
    DatasetSummary,
    DatasetView,
    Estimate,
    FailedShard,
    FailureView,
    FirstSample,
    ManifestFault,
    ManifestReport,
    SkippedRow,
)
from latentfarm.manifests.fingerprint import sha256_of
from latentfarm.repository.outlook import Speed
from latentfarm.repository.sets import Dataset, Progress
from latentfarm.retention import expires_at

ROOM = 48 * 1024
"""Bytes that a list may take in an answer, which stays below 64 KiB."""
SKIPPED_ROOM = 16 * 1024
TEXT_SHOWN = 200
"""Characters of a prompt of an expanded sample, and of a message."""

V = TypeVar("V", bound=BaseModel)


def dataset_url(base: URL, name: str) -> str:
    """Where a dataset is shown, seen from the client that asks."""
    return f"{str(base).rstrip('/')}/v1/datasets/{name}"


def within(views: Iterable[V], room: int = ROOM) -> list[V]:
    """The first views that fit into so many bytes of JSON, and one at least where there is one."""
    shown: list[V] = []
    for view in views:
        room -= len(view.model_dump_json().encode())
        if shown and room < 0:
            break
        shown.append(view)
    return shown


def summary(dataset: Dataset, progress: Progress, base: URL) -> DatasetSummary:
    """A dataset as lists show it."""
    return DatasetSummary(**_common(dataset, progress, base))


def in_full(look: Look, base: URL) -> DatasetView:
    """A dataset as it is shown alone."""
    dataset, report = look.dataset, look.dataset.report
    return DatasetView(
        **_common(dataset, look.progress, base),
        layout=dataset.request["layout"],
        shard_samples=dataset.request["shard_samples"],
        fingerprint=None if dataset.fingerprint is None else sha256_of(dataset.fingerprint).hex(),
        report=ManifestReport(**_report(report)) if "rows" in report else None,
        error=fault(report),
        failures=look.failures,
        failed_shards=[FailedShard(**shard | _cut(shard)) for shard in look.failed_shards],
        held_back=look.held or None,
        rate=rate_of(look),
        device_seconds=round(look.progress.seconds, 3),
        metadata=dataset.request["metadata"],
    )


def fault(report: dict[str, Any]) -> ManifestFault | None:
    """What is wrong with a manifest, if anything is."""
    error = report.get("error")
    return None if error is None else ManifestFault.model_validate(error | _cut(error))


def plan(name: str, report: dict[str, Any], estimate: Estimate) -> DatasetPlan:
    """What a dry run found."""
    return DatasetPlan(name=name, seed=report["seed"], estimate=estimate, **_report(report))


def estimate(report: dict[str, Any], speed: Speed | None, size: tuple[float, str] | None) -> Estimate:
    """What a dataset would take, by what was rendered before."""
    if speed is None:
        seconds, basis = None, "the live workers have not done a step yet"
    else:
        each = speed.busy_s / speed.steps / speed.megapixels
        seconds = round(each * report["megapixel_steps"], 1)
        basis = (
            f"{speed.busy_s:.1f} s that the live workers spent on {speed.steps:.0f} steps of"
            f" {speed.megapixels:.3f} megapixels: {each:.4g} s for a megapixel-step"
        )
    return with_bytes(seconds, basis, report["images"], size)


def with_bytes(seconds: float | None, basis: str, images: int, size: tuple[float, str] | None) -> Estimate:
    """An estimate of GPU-seconds, and the bytes of so many images by what images of this farm are on average."""
    if size is None:
        return Estimate(
            device_seconds=seconds, device_seconds_basis=basis, bytes_basis="there is no image yet"
        )
    return Estimate(
        device_seconds=seconds,
        device_seconds_basis=basis,
        bytes=round(size[0] * images),
        bytes_basis=f"{size[1]}: {size[0]:.0f} bytes, whatever their width and height",
    )


def failure(row: dict[str, Any]) -> FailureView:
    """An image that failed."""
    return FailureView(**row | _cut(row))


def _common(dataset: Dataset, progress: Progress, base: URL) -> dict[str, Any]:
    return {
        "id": dataset.id,
        "name": dataset.name,
        "state": state_of(dataset),
        "phase": dataset.phase,
        "counts": DatasetCounts(
            images=dataset.images,
            inserted=dataset.inserted,
            queued=dataset.queued or 0,
            ended=progress.ended,
            failed=progress.failed,
            redrawn=progress.redrawn,
            packed=progress.packed,
            shards=progress.shards,
            sealed=progress.sealed,
        ),
        "seed": dataset.seed,
        "created_at": dataset.created_at,
        "started_at": dataset.started_at,
        "finished_at": dataset.finished_at,
        "start_after": dataset.start_after or dataset.request.get("start_after"),
        "retain_days": dataset.retain_days if dataset.state else dataset.request.get("retain_days"),
        "expires_at": expires_at(dataset.finished_at, dataset.retain_days),
        "gone_at": dataset.gone_at,
        "url": dataset_url(base, dataset.name),
    }


def _report(report: dict[str, Any]) -> dict[str, Any]:
    rows = [SkippedRow(**row | _cut(row)) for row in report["skipped_rows"]]
    return {name: report[name] for name in ("rows", "images", "skipped", "duplicates", "megapixel_steps")} | {
        "skipped_rows": within(rows, SKIPPED_ROOM),
        "first": [FirstSample(**sample | {"spec": _short(sample["spec"])}) for sample in report["first"]],
    }


def _short(spec: dict[str, Any]) -> dict[str, Any]:
    return {name: value[:TEXT_SHOWN] if isinstance(value, str) else value for name, value in spec.items()}


def _cut(row: dict[str, Any]) -> dict[str, Any]:
    message = row.get("message")
    return {"message": message[:TEXT_SHOWN] if isinstance(message, str) else message}
