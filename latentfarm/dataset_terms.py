"""What a dataset may be, and what is told of it before it is rendered."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from latentfarm.errors import Ended, InvalidInput
from latentfarm.manifests.effort import MOST_INLINE_UNITS, MOST_UNITS
from latentfarm.manifests.reading import format_of
from latentfarm.retention import told

if TYPE_CHECKING:
    from latentfarm.manifests.checked import Checked
    from latentfarm.manifests.request import DatasetRequest
    from latentfarm.repository.sets import Dataset

MOST_SHARDS = 1_000_000
"""Of one dataset: their names have six digits."""
MOST_IMAGES = 10_000_000
"""The ids of all of them are kept in memory while a manifest is read."""
MOST_INLINE = 50_000
"""Images of rows that come with a request: they are checked while somebody waits for the answer."""
OUTPUT = ("layout", "shard_samples", "shard_bytes", "quality")
"""Fields that make no picture, and that shards of one dataset have in common all the same."""
SHOWN = 100
"""Rows that a report lists of those left out."""


def refuse_gone(known: Dataset) -> None:
    """Refuses to go on with a dataset whose files are kept no longer.

    Raises:
        Ended: names since when.
    """
    if known.gone_at is not None:
        gone = told(f"the files of the dataset {known.name}", known.gone_at, known.retain_days)
        raise Ended(f"{gone}, and another name makes another dataset")


def plain(text: str) -> str:
    """A text out of a stranger's file, so that it can be stored and shown: PostgreSQL takes no NUL and no half pairs."""
    return text[:300].encode("utf-8", "backslashreplace").decode().replace("\x00", "\\x00")


def report_of(checked: Checked, seed: int) -> dict[str, Any]:
    """What the first pass found, JSON-ready."""
    return {
        "seed": seed,
        "rows": checked.counts.rows,
        "images": checked.counts.images,
        "skipped": checked.counts.skipped,
        "skipped_rows": [
            {"line": one.line, "field": plain(one.field), "message": plain(one.message)}
            for one in checked.skipped[:SHOWN]
        ],
        "duplicates": checked.duplicates,
        "megapixel_steps": round(checked.megapixel_steps, 3),
        "megapixels": round(checked.megapixels, 6),
        "first": [
            {"id": one.id, "line": one.line, "seed": one.seed, "spec": json.loads(one.picture)}
            for one in checked.first[:3]
        ],
    }


def most_images(request: DatasetRequest) -> int:
    """Images that a dataset may have, so that its shards have names, and that its request is answered in time."""
    most = MOST_INLINE if is_inline(request) else MOST_IMAGES
    return min(most, MOST_SHARDS * request.shard_samples)


def most_units(request: DatasetRequest) -> int:
    """Units of work that the templates and sweeps of a manifest may take."""
    return MOST_INLINE_UNITS if is_inline(request) else MOST_UNITS


def is_inline(request: DatasetRequest) -> bool:
    """Whether the rows come with the request, and are checked while somebody waits."""
    return request.manifest.rows is not None or request.manifest.prompts is not None


def check_format(request: DatasetRequest) -> None:
    """Whether it is known how a manifest in the bucket is to be read.

    Raises:
        InvalidInput: neither the request nor the key tells.
    """
    if request.manifest.key is not None:
        format_of(request.manifest.key, request.format)
    elif request.format is None:
        raise InvalidInput("format", "an upload does not tell it", "jsonl, csv, parquet, text")


def changed_output(before: dict[str, Any], request: DatasetRequest) -> list[str]:
    """Fields of `OUTPUT` that a request gives otherwise than the dataset has them."""
    now = request.model_dump(mode="json", include=set(OUTPUT))
    # Of a release that knew fewer checks.
    before = before | {"quality": dict.fromkeys(now["quality"], "mark") | before["quality"]}
    return [
        f"{field}: {before[field]} before, {now[field]} now"
        for field in OUTPUT
        if field in request.model_fields_set and before[field] != now[field]
    ]


def without_rows(request: DatasetRequest) -> dict[str, Any]:
    """The request as it is stored: its rows are in the spool."""
    return request.model_dump(mode="json", exclude={"manifest": {"rows", "prompts"}})
