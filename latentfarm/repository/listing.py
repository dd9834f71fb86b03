"""Jobs of a tenant, newest first, those that are asked for: a page, and where to go on."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING
from uuid import UUID

from sqlalchemy import text

from latentfarm.repository.reading import COLUMNS, job_of
from latentfarm.states import FINAL_JOB, JobState

if TYPE_CHECKING:
    from datetime import datetime
    from typing import Any

    from sqlalchemy import Connection

    from latentfarm.records import Job
    from latentfarm.states import Lane

SCAN = 10_000
"""Jobs that one page looks at. Whoever asks for a few among a million goes on from there with the next one."""
SKEW_S = 60.0
"""Ids have the time of the API that drew them; by that much it may differ from the time of the database."""
UNWELL = frozenset({JobState.FAILED, JobState.CANCELLED})

# The inner LIMIT bounds what is read, whatever is asked for; what an index knows of a state is asked for inside.
_PAGE = """
    SELECT {columns} FROM (
        SELECT * FROM jobs j WHERE j.tenant = :tenant AND j.id < :before AND j.id > :since {known}
        ORDER BY j.id DESC LIMIT :scan) AS j JOIN specs s ON s.id = j.spec_id
    WHERE j.deleted_at IS NULL AND (CAST(:states AS text[]) IS NULL OR j.state = ANY (CAST(:states AS text[])))
      AND (CAST(:lane AS text) IS NULL OR j.lane = :lane) AND (CAST(:model AS text) IS NULL OR j.model = :model)
      AND (CAST(:kind AS text) IS NULL OR j.kind = :kind)
      AND (CAST(:created_after AS timestamptz) IS NULL OR j.created_at >= :created_after)
      AND (CAST(:created_before AS timestamptz) IS NULL OR j.created_at < :created_before)
    ORDER BY j.id DESC LIMIT :limit
"""
_LAST = """
    SELECT j.id FROM jobs j WHERE j.tenant = :tenant AND j.id < :before AND j.id > :since {known}
    ORDER BY j.id DESC OFFSET :scan - 1 LIMIT 1
"""
_KNOWN = {
    "": "",
    "unwell": "AND j.state IN ('failed', 'cancelled')",
    "open": "AND j.finished_at IS NULL",
}
PAGES = {name: text(_PAGE.format(columns=COLUMNS, known=known)) for name, known in _KNOWN.items()}
LASTS = {name: text(_LAST.format(known=known)) for name, known in _KNOWN.items()}


@dataclass(frozen=True, slots=True)
class Wanted:
    """Which jobs are asked for; None, and no states: any.

    Attributes:
        model: of all their images; `*`: of several.
        created_after: from then on; `created_before`: until just before then.
    """

    states: frozenset[JobState] = frozenset()
    lane: Lane | None = None
    model: str | None = None
    kind: str | None = None
    created_after: datetime | None = None
    created_before: datetime | None = None


def find(
    connection: Connection, wanted: Wanted, *, tenant: str, before: UUID, limit: int
) -> tuple[list[Job], UUID | None]:
    """Jobs older than `before`, newest first; without those that were thrown away.

    Returns:
        (at most `limit` jobs, the id to go on behind; None: there are no more). Fewer than asked for, none even, when
        few of the `SCAN` jobs that were looked at are such.
    """
    known = _known(wanted.states)
    latest = _id_at(wanted.created_before, SKEW_S)
    values: dict[str, Any] = {
        "tenant": tenant,
        "before": before if latest is None else min(before, latest),
        "since": _id_at(wanted.created_after, -SKEW_S) or UUID(int=0),
        "scan": SCAN,
        "limit": limit + 1,
        "states": sorted(state.value for state in wanted.states) or None,
        "lane": None if wanted.lane is None else wanted.lane.value,
        "model": wanted.model,
        "kind": wanted.kind,
        "created_after": wanted.created_after,
        "created_before": wanted.created_before,
    }
    found = [job_of(row) for row in connection.execute(PAGES[known], values).mappings()]
    if len(found) > limit:
        return found[:limit], found[limit - 1].id
    own = ("tenant", "before", "since", "scan")
    last = connection.execute(LASTS[known], {name: values[name] for name in own}).scalar()
    return found, last


def _known(states: frozenset[JobState]) -> str:
    if states and states <= UNWELL:
        return "unwell"
    return "open" if states and not states & FINAL_JOB else ""


def _id_at(moment: datetime | None, more_s: float) -> UUID | None:
    """The least id that could be drawn then: a UUIDv7 begins with the milliseconds since 1970."""
    if moment is None:
        return None
    milliseconds = int((moment.timestamp() + more_s) * 1000)
    return UUID(int=max(0, min(milliseconds, 2**48 - 1)) << 80)
