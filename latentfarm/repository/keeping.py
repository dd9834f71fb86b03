"""The bytes that a tenant keeps: images and files that somebody is led to. Counted in pieces, since some keep millions."""

from __future__ import annotations

from itertools import groupby
from typing import TYPE_CHECKING
from uuid import UUID

from sqlalchemy import text

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from sqlalchemy import Connection, Row

JOBS = 2_000
"""Jobs of one statement."""
WINDOW = 20_000
"""Images of one statement, about: it takes a fraction of a second, where all of them could take longer than a statement may."""

_JOBS = text("""
    SELECT id, kind, num_images, results_gone_at IS NOT NULL AS gone FROM jobs
    WHERE tenant = :tenant AND id > :after ORDER BY id LIMIT :limit
""")

_IMAGES = text("""
    SELECT CAST(coalesce(sum(o.size), 0) AS bigint)
    FROM unnest(CAST(:jobs AS uuid[]), CAST(:firsts AS int[])) AS w(job, first)
    JOIN renders r ON r.job_id = w.job AND r.ordinal >= w.first AND r.ordinal < w.first + :window
    JOIN objects o ON o.render_id = r.id AND o.kind = 'image' AND o.state = 'visible'
""")

_SHARDS = text("""
    SELECT CAST(coalesce(sum(CAST(f ->> 'size' AS bigint)), 0) AS bigint)
    FROM shards s CROSS JOIN jsonb_array_elements(s.files) AS f WHERE s.dataset_id = ANY (CAST(:datasets AS uuid[]))
""")


def kept_bytes(connection: Connection, tenant: str) -> int:
    """What a tenant keeps. Images by their rows; what datasets are packed in, by their shards.

    What becomes visible or goes meanwhile may be in it or not.
    """
    size, after = 0, UUID(int=0)
    while jobs := connection.execute(_JOBS, {"tenant": tenant, "after": after, "limit": JOBS}).all():
        after = jobs[-1].id
        for windows in _together(jobs):
            values = {"jobs": [job for job, _ in windows], "firsts": [first for _, first in windows]}
            size += connection.execute(_IMAGES, values | {"window": WINDOW}).scalar_one()
        if packed := [job.id for job in jobs if job.kind == "dataset" and not job.gone]:
            size += connection.execute(_SHARDS, {"datasets": packed}).scalar_one()
    return size


def _together(jobs: Sequence[Row[tuple[UUID, str, int, bool]]]) -> Iterator[list[tuple[UUID, int]]]:
    """Jobs, and from which image on, so many of them that they have about `WINDOW` images."""
    windows = _windows(jobs)
    for _, group in groupby(windows, key=lambda window: window[0] // WINDOW):
        yield [(job, first) for _, job, first in group]


def _windows(jobs: Sequence[Row[tuple[UUID, str, int, bool]]]) -> Iterator[tuple[int, UUID, int]]:
    """Images before, the job, and from which of its images on."""
    before = 0
    for job in jobs:
        for first in range(0, job.num_images, WINDOW):
            yield before, job.id, first
            before += min(WINDOW, job.num_images - first)
