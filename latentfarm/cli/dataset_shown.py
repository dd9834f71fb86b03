"""How the commands print datasets."""

from __future__ import annotations

from typing import TYPE_CHECKING

from latentfarm.cli.output import as_json, columns, complain, say
from latentfarm.retention import at

if TYPE_CHECKING:
    from latentfarm.dataset_views import DatasetPlan, DatasetSummary, DatasetView, Estimate, ManifestReport
    from latentfarm.quote_views import JobQuote
    from latentfarm.views import JobSummary

_UNITS = ("bytes", "KiB", "MiB", "GiB", "TiB")
LISTED = 20
"""Rows that are listed of those left out; `--json` has more."""


def tell(dataset: DatasetView, *, json_: bool) -> None:
    """Prints a dataset."""
    if json_:
        as_json(dataset.model_dump(mode="json"))
        return
    columns(rows_of(dataset))
    if dataset.report is not None:
        tell_skipped(dataset.report)


def rows_of(dataset: DatasetView) -> list[tuple[str, str]]:
    """What is to be known of a dataset, a line each."""
    counts, rows = dataset.counts, [("dataset", dataset.name), ("id", str(dataset.id))]
    rows.append(("state", state_of(dataset)))
    if dataset.error is not None:
        error, place = dataset.error, f"line {dataset.error.line}: " if dataset.error.line else ""
        allowed = f" (allowed: {error.allowed})" if error.allowed else ""
        rows.append(("refused", f"{place}{error.field}: {error.message}{allowed}"))
    if dataset.held_back is not None:
        rows.append(("held back", dataset.held_back))
    failed = ", ".join(f"{number} {kind}" for kind, number in dataset.failures.items())
    rows += [
        ("images", f"{counts.ended} of {counts.images} ended, {counts.inserted} came in"),
        ("failed", f"{counts.failed}" + (f" ({failed})" if failed else "")),
        *([("another seed", f"{counts.redrawn} times, for what checks found")] if counts.redrawn else []),
        ("shards", f"{counts.sealed} of {counts.shards} sealed, with {counts.packed} images"),
        *(
            (f"shard {one.number}", f"could not be packed: {one.error_class}: {one.message}")
            for one in dataset.failed_shards
        ),
        ("rate", pace_of(dataset)),
        ("device seconds", f"{dataset.device_seconds:.1f}, of the images in sealed shards"),
        ("seed", str(dataset.seed)),
        ("layout", f"{dataset.layout}, up to {dataset.shard_samples} images to a shard"),
        ("fingerprint", dataset.fingerprint or "not yet"),
        ("created", dataset.created_at.isoformat(timespec="seconds")),
    ]
    if dataset.start_after is not None and dataset.started_at is None:
        rows.append(("starts after", at(dataset.start_after)))
    if dataset.finished_at is not None:
        rows.append(("finished", dataset.finished_at.isoformat(timespec="seconds")))
    return rows + kept(dataset)


def kept(one: DatasetSummary | JobSummary) -> list[tuple[str, str]]:
    """How long results are kept, where there is an end to it."""
    if one.gone_at is not None:
        return [("gone since", at(one.gone_at))]
    return [] if one.expires_at is None else [("kept until", at(one.expires_at))]


def state_of(dataset: DatasetSummary) -> str:
    """The state, and what the manifest is at when that says more."""
    busy = {"checking": "a manifest is being read", "inserting": "rows are coming in"}.get(dataset.phase)
    return f"{dataset.state} ({busy})" if busy and dataset.state != "checking" else dataset.state


def pace_of(dataset: DatasetView) -> str:
    """Images per second and what is left, or why there are none."""
    rate = dataset.rate
    if rate.images_per_second is None:
        return rate.basis
    left = f", {duration(rate.eta_s)} left" if rate.eta_s is not None else ""
    return f"{rate.images_per_second:.2f} images/s{left}: {rate.basis}"


def show_quote(quote: JobQuote, *, json_: bool) -> None:
    """Prints what a job would take."""
    if json_:
        as_json(quote.model_dump(mode="json"))
        return
    work = ("work", f"{quote.megapixel_steps:g} megapixel-steps of {quote.model}")
    columns([("images", str(quote.renders)), work, *_estimated(quote.estimate)])
    say("dry run: no job was stored")


def _estimated(estimate: Estimate) -> list[tuple[str, str]]:
    seconds = "not known" if estimate.device_seconds is None else duration(estimate.device_seconds)
    size = "not known" if estimate.bytes is None else size_of(estimate.bytes)
    return [
        ("device time", f"{seconds}: {estimate.device_seconds_basis}"),
        ("bytes", f"{size}: {estimate.bytes_basis}"),
    ]


def show_plan(plan: DatasetPlan) -> None:
    """Prints what a dry run found."""
    columns(
        [
            ("rows", f"{plan.rows}, {plan.skipped} left out"),
            ("images", str(plan.images)),
            ("duplicates", f"{plan.duplicates} of the same picture and seed"),
            *_estimated(plan.estimate),
            ("seed", str(plan.seed)),
        ]
    )
    columns(
        [
            (f"line {one.line}", one.id, f"seed {one.seed}", str(one.spec.get("prompt", "")))
            for one in plan.first
        ]
    )
    tell_skipped(plan)
    say("dry run: nothing was stored")


def tell_skipped(report: ManifestReport) -> None:
    """Names rows that were left out, on standard error."""
    for row in report.skipped_rows[:LISTED]:
        complain(f"left out: line {row.line}: {row.field}: {row.message}")
    if report.skipped > LISTED:
        complain(f"left out: {report.skipped - LISTED} more")


def duration(seconds: float) -> str:
    """`1 h 02 min`, `3 min 20 s`, `12 s`."""
    whole = round(seconds)
    if whole >= 3600:
        return f"{whole // 3600} h {whole % 3600 // 60:02d} min"
    return f"{whole // 60} min {whole % 60:02d} s" if whole >= 60 else f"{whole} s"


def size_of(number: float) -> str:
    """Bytes in a unit that people read."""
    for unit in _UNITS[:-1]:
        if number < 1024:
            return f"{number:.4g} {unit}"
        number /= 1024
    return f"{number:.4g} {_UNITS[-1]}"
