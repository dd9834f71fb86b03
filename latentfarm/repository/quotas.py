"""Quotas of tenants: what is used, and whether more may be accepted.

A job is stored, and then counted while its tenant's row of `quotas` is locked until the commit, so that what others have
accepted meanwhile is seen, and nobody passes a limit. A tenant without a row pays one look-up of it.
"""

from __future__ import annotations

from dataclasses import dataclass
from math import ceil
from typing import TYPE_CHECKING, Any

from sqlalchemy import text

from latentfarm.errors import OverQuota
from latentfarm.quotas import Ask
from latentfarm.repository import kept_files
from latentfarm.repository.tenancy import LEFT, SOONEST_S, check_room, wait_s

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from datetime import datetime
    from uuid import UUID

    from sqlalchemy import Connection

    from latentfarm.repository.kept_files import KeptFiles

FIELDS = ("max_cost_in_flight", "max_cost_per_day", "max_storage_bytes", "max_files")
UNITS = "units"

# By the clock and not by the start of the transaction: whoever waited for the row past midnight counts for the new day.
_TODAY = "CAST(clock_timestamp() AT TIME ZONE 'UTC' AS date)"

_SPENT = f"CASE WHEN day >= {_TODAY} THEN cost_today ELSE 0 END"

_COLUMNS = f"""
    tenant, max_cost_in_flight, max_cost_per_day, max_storage_bytes, max_files, {_SPENT} AS cost_today, storage_bytes,
    CAST(greatest(day, {_TODAY}) + 1 AS timestamp) AT TIME ZONE 'UTC' AS resets_at,
    CAST(EXTRACT(EPOCH FROM CAST(greatest(day, {_TODAY}) + 1 AS timestamp) AT TIME ZONE 'UTC' - clock_timestamp()) AS float)
        AS resets_in_s
"""

_GET = text(f"SELECT {_COLUMNS} FROM quotas WHERE tenant = ANY (CAST(:tenants AS text[]))")  # noqa: S608 - no input in it
_LOCK = text(f"SELECT {_COLUMNS} FROM quotas WHERE tenant = :tenant FOR UPDATE")  # noqa: S608 - the same

# Of a dataset the share of its images that are not final; those that did not come in yet do not count.
_USED = text("""
    WITH open AS (
        SELECT j.cost, j.most_bytes, j.kind = 'dataset' AS is_set, CASE
            WHEN j.kind <> 'dataset' THEN CAST(j.remaining AS float) / greatest(j.num_images, 1)
            ELSE (SELECT greatest(0, d.inserted - (
                      SELECT coalesce(sum(s.count - s.remaining), 0) FROM shards s WHERE s.dataset_id = d.id AND s.number >= 0))
                      / CAST(greatest(d.inserted, 1) AS float) FROM datasets d WHERE d.id = j.id) END AS share,
            CASE WHEN j.kind <> 'dataset' THEN j.remaining ELSE 0 END AS images
        FROM jobs j WHERE j.tenant = :tenant AND j.cost IS NOT NULL AND j.finished_at IS NULL)
    SELECT coalesce(sum(cost * share), 0) AS units, coalesce(sum(images), 0) AS images,
           CAST(coalesce(sum(most_bytes * CASE WHEN is_set THEN share ELSE 1 END), 0) AS bigint) AS size,
           (SELECT recent_starts FROM tenants WHERE name = :tenant) AS starts
    FROM open
""")

# What ended around the last count or after it may not be in that.
_ENDED = text("""
    SELECT CAST(coalesce(sum(j.most_bytes), 0) AS bigint) FROM jobs j, quotas q
    WHERE q.tenant = :tenant AND j.tenant = :tenant AND j.cost IS NOT NULL
      AND j.finished_at > q.counted_at - interval '1 minute'
""")

_SPEND = text(f"""
    UPDATE quotas SET day = greatest(day, {_TODAY}), cost_today = {_SPENT} + :units WHERE tenant = :tenant
""")  # noqa: S608 - the same

_COUNTED = text("""
    UPDATE jobs SET cost = coalesce(cost, 0) + :units, most_bytes = coalesce(most_bytes, 0) + :size WHERE id = :id
""")


@dataclass(frozen=True, slots=True)
class Quota:
    """A row of `quotas` as it stands. `resets_at`: when the day ends, in UTC."""

    tenant: str
    max_cost_in_flight: float | None
    max_cost_per_day: float | None
    max_storage_bytes: int | None
    max_files: int | None
    cost_today: float
    counted_bytes: int
    resets_at: datetime
    resets_in_s: float


@dataclass(frozen=True, slots=True)
class Used:
    """What a tenant has accepted that is not done, and what it keeps.

    Attributes:
        units: of images that are not final.
        size: bytes that are kept, and those that may come.
        each: units of one of its open images, on the mean.
        starts: renders of it that began in the last minute, about.
        files: those that it keeps; none where no quota is about them.
    """

    units: float
    size: int
    each: float
    starts: float
    files: KeptFiles


def get(connection: Connection, tenants: Sequence[str]) -> dict[str, Quota]:
    """The quotas of those of some tenants that have any."""
    rows = connection.execute(_GET, {"tenants": list(tenants)})
    return {row.tenant: _quota(row) for row in rows}


def used(connection: Connection, quota: Quota) -> Used:
    """What counts now. Exact for whoever has locked the row."""
    row = connection.execute(_USED, {"tenant": quota.tenant}).one()
    size, files = 0, kept_files.NONE
    if quota.max_storage_bytes is not None or quota.max_files is not None:
        files = kept_files.count(connection, quota.tenant)
    if quota.max_storage_bytes is not None:
        ended = int(connection.execute(_ENDED, {"tenant": quota.tenant}).scalar_one())
        size = quota.counted_bytes + row.size + ended + files.size
    return Used(row.units, size, row.units / row.images if row.images else 0.0, row.starts or 0.0, files)


def take(connection: Connection, tenant: str, job_id: UUID, ask: Ask) -> None:
    """Counts a job of a tenant that has quotas; it is stored by this transaction already.

    Raises:
        OverQuota: names the quota that it would pass. The caller's transaction must not be committed.
    """
    row = connection.execute(_LOCK, {"tenant": tenant}).first()
    if row is None:
        return
    quota = _quota(row)
    refuse(quota, used(connection, quota), ask)
    spend(connection, tenant, job_id, ask)


def take_file(connection: Connection, tenant: str, size: int) -> None:
    """Finds whether a tenant may keep a further file; whoever asks stores it in this transaction.

    Args:
        size: bytes that it has, or may have.

    Raises:
        OverQuota: names the quota that it would pass; waiting for work to end does not help.
    """
    quota = lock(connection, tenant)
    if quota is None or (quota.max_files is None and quota.max_storage_bytes is None):
        return
    now, most = used(connection, quota), quota.max_files
    _refuse_storage(quota, now, size)
    if most is not None and now.files.count >= most:
        facts = _told("max_files", "files", most, now.files.count, 1)
        told = f"{now.files.count} of {most} files are kept: one must be deleted first"
        if now.files.next_goes_at is not None:
            facts |= {"resets_at": now.files.next_goes_at.isoformat()}
            told += f", or go by itself, the next at {now.files.next_goes_at.isoformat(timespec='seconds')}"
        raise OverQuota(told, 0, facts)


def spend(connection: Connection, tenant: str, job_id: UUID, ask: Ask) -> None:
    """Writes down what was found to fit, by whoever has locked the row since."""
    connection.execute(_SPEND, {"tenant": tenant, "units": ask.units})
    connection.execute(_COUNTED, {"id": job_id, "units": ask.units, "size": ask.size})


def check(connection: Connection, tenant: str, ask: Ask) -> None:
    """Refuses what would not be accepted now, and counts nothing; without units, what could not begin.

    Raises:
        OverQuota: names the quota.
    """
    quota = get(connection, [tenant]).get(tenant)
    if quota is not None:
        refuse(quota, used(connection, quota), ask)


def check_open(connection: Connection, tenant: str) -> None:
    """Refuses a dataset that could not begin; what is larger than the room comes in as there is some.

    Raises:
        TooMuchQueued: the tenant has as many renders waiting as it may.
        OverQuota: names the quota that is used up.
    """
    check_room(connection, tenant, 1)
    check(connection, tenant, Ask())


def lock(connection: Connection, tenant: str) -> Quota | None:
    """The quotas of a tenant, which nobody else changes or counts against before the commit."""
    row = connection.execute(_LOCK, {"tenant": tenant}).first()
    return None if row is None else _quota(row)


def refuse(quota: Quota, now: Used, ask: Ask) -> None:
    """Compares.

    Raises:
        OverQuota: with the seconds after which there should be room; 0: waiting does not help.
    """
    _refuse_storage(quota, now, ask.size)
    for name, limit, spent in (
        ("max_cost_per_day", quota.max_cost_per_day, quota.cost_today),
        ("max_cost_in_flight", quota.max_cost_in_flight, now.units),
    ):
        if limit is None or not _over(spent, ask.units, limit):
            continue
        facts = _told(name, UNITS, limit, round(spent, 3), round(ask.units, 3))
        if ask.units > limit:
            told = f"this alone is {ask.units:.4g} {UNITS}, and {limit:g} may be {_WHEN[name]}: ask for less at once"
            raise OverQuota(told, 0, facts)
        told = f"{spent:.4g} of {limit:g} {UNITS} are {_WHEN[name]} already, and this is {ask.units:.4g} more"
        if name == "max_cost_per_day":
            facts |= {"resets_at": quota.resets_at.isoformat()}
            raise OverQuota(
                f"{told}; the day ends at 00:00 UTC", max(SOONEST_S, ceil(quota.resets_in_s)), facts
            )
        over = (spent + ask.units - limit) / now.each if now.each else 1.0
        raise OverQuota(f"{told}; there is room as images end", wait_s(ceil(over), now.starts), facts)


def _refuse_storage(quota: Quota, now: Used, size: int) -> None:
    storage = quota.max_storage_bytes
    if storage is not None and _over(now.size, size, storage):
        told = f"{now.size} of {storage} bytes are taken, and this may take {size} more: something must be deleted first"
        raise OverQuota(told, 0, _told("max_storage_bytes", "bytes", storage, now.size, size))


def room(quota: Quota, now: Used, more: int, each: Ask) -> tuple[int, str]:
    """How many of `more` images of a dataset may come in now, and why it is none.

    As with `max_queued`, a tenth of each cost is left to other jobs, and what is in flight is filled by a tenth at least.
    """
    rooms = [(more, "")]
    for name, limit, spent in (
        ("max_cost_in_flight", quota.max_cost_in_flight, now.units),
        ("max_cost_per_day", quota.max_cost_per_day, quota.cost_today),
    ):
        if limit is not None and each.units > 0:
            fits = int((limit * (1 - 1 / LEFT) - spent) / each.units)
            least = 1
            if name == "max_cost_in_flight":
                least = max(1, min(more, int(limit / LEFT / each.units)))
            told = f"{spent:.4g} of {limit:g} {UNITS} are {_WHEN[name]} already, and an image is {each.units:.4g}"
            rooms.append((fits if fits >= least else 0, told))
    if quota.max_storage_bytes is not None:
        told = f"{now.size} of {quota.max_storage_bytes} bytes are taken"
        rooms.append(((quota.max_storage_bytes - now.size) // each.size, told))
    least_room, why = min(rooms, key=lambda one: one[0])
    return (least_room, "") if least_room > 0 else (0, f"{why}: more come in as there is room")


_WHEN = {"max_cost_in_flight": "in flight", "max_cost_per_day": "of this day"}


def _over(spent: float, asked: float, limit: float) -> bool:
    return spent + asked > limit or spent >= limit


def _told(name: str, unit: str, limit: float, spent: float, asked: float) -> dict[str, Any]:
    return {"name": name, "unit": unit, "limit": limit, "used": spent, "asked": asked}


def _quota(row: Any) -> Quota:
    facts: Mapping[str, Any] = row._mapping  # noqa: SLF001 - SQLAlchemy's public name for it
    values = {name: facts[name] for name in ("tenant", *FIELDS, "cost_today", "resets_at", "resets_in_s")}
    return Quota(counted_bytes=facts["storage_bytes"], **values)
