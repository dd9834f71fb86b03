"""What receivers are to be told of an event, written in the transaction in which it happens."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from sqlalchemy import text

from latentfarm.database import CHANNEL_DELIVERIES, notify
from latentfarm.ids import new_id
from latentfarm.inputs.target import read_target
from latentfarm.webhooks.formats import FORMATS
from latentfarm.webhooks.told import REFUSED, STARTED, Told, default_id, wanted

if TYPE_CHECKING:
    from uuid import UUID

    from sqlalchemy import Connection, RowMapping

_HEEDED_BY = (
    "SELECT FROM webhooks w WHERE w.tenant = jobs.tenant AND w.url IS NOT NULL AND w.disabled_at IS NULL"
)
#: For RETURNING of statements on `jobs`: whether anybody may have to be told. Costs no round trip where nobody has.
HEARD = f"(jobs.webhook IS NOT NULL OR EXISTS ({_HEEDED_BY})) AS heard"
#: The same of starts, which few want to hear of.
HEARD_OF_START = f"""
    (jobs.webhook -> 'events' ? '{STARTED}' OR EXISTS ({_HEEDED_BY} AND '{STARTED}' = ANY (w.events))) AS heard
"""

_JOB = text("""
    SELECT j.tenant, j.webhook, now() AS at, jsonb_build_object(
        'id', j.id, 'kind', j.kind, 'state', j.state, 'model', j.model, 'lane', j.lane, 'priority', j.priority,
        'seed', j.seed, 'num_images', j.num_images, 'failed', j.failed, 'metadata', j.user_metadata,
        'dataset', d.name, 'created_at', j.created_at, 'started_at', j.started_at,
        'finished_at', j.finished_at) AS facts
    FROM jobs j LEFT JOIN datasets d ON d.id = j.id WHERE j.id = :id
""")

# Datasets whose manifest was refused, and that have no job. Dry runs are nobody's news.
_REFUSED = text("""
    SELECT d.tenant, nullif(d.request -> 'webhook', 'null') AS webhook, now() AS at, jsonb_build_object(
        'id', d.id, 'kind', 'dataset', 'state', d.phase, 'model', NULL, 'lane', 'bulk', 'priority', NULL,
        'seed', d.seed, 'num_images', 0, 'failed', 0, 'metadata', coalesce(d.request -> 'metadata', '{}'),
        'dataset', d.name, 'created_at', d.created_at, 'started_at', NULL, 'finished_at', now()) AS facts
    FROM datasets d WHERE d.id = :id AND d.phase = 'rejected' AND d.name NOT LIKE 'dry-run/%'
""")

_HEEDED = text("""
    SELECT id, events, format FROM webhooks
    WHERE tenant = :tenant AND url IS NOT NULL AND disabled_at IS NULL ORDER BY id
""")

_ADD = text("""
    INSERT INTO deliveries (id, tenant, webhook_id, job_id, event, type, format, url, target, facts)
    VALUES (:id, :tenant, :webhook_id, :job_id, :event, :type, :format, :url, :target, CAST(:facts AS jsonb))
""")


def write(connection: Connection, job_id: UUID, event: str) -> int:
    """Writes a delivery for everybody who wants to be told, and wakes who sends them; returns how many."""
    return _write(connection, connection.execute(_JOB, {"id": job_id}).mappings().one(), job_id, event)


def write_refusal(connection: Connection, dataset_id: UUID) -> int:
    """The same of a dataset whose manifest was refused just now; none where it was not."""
    refused = connection.execute(_REFUSED, {"id": dataset_id}).mappings().first()
    return 0 if refused is None else _write(connection, refused, dataset_id, REFUSED)


def _write(connection: Connection, job: RowMapping, job_id: UUID, event: str) -> int:
    hooks = connection.execute(_HEEDED, {"tenant": job["tenant"]}).mappings()
    found = [_for_hook(job, event, hook) for hook in hooks if wanted(event, tuple(hook["events"]))]
    own = job["webhook"]
    if own is not None and wanted(event, tuple(own["events"])):
        found.append(_for_url(job, event, own))
    rows = [row | {"job_id": job_id} for row in found if row["type"] is not None]
    if rows:
        connection.execute(_ADD, rows)
        notify(connection, CHANNEL_DELIVERIES, "")
    return len(rows)


def _for_hook(job: RowMapping, event: str, hook: RowMapping) -> dict[str, Any]:
    row = _row(job, event, hook["format"])
    return row | {"webhook_id": hook["id"], "url": None, "target": str(hook["id"])}


def _for_url(job: RowMapping, event: str, own: dict[str, Any]) -> dict[str, Any]:
    row = _row(job, event, own["format"])
    host = read_target("webhook.url", own["url"]).authority
    return row | {"webhook_id": default_id(job["tenant"]), "url": own["url"], "target": host}


def _row(job: RowMapping, event: str, name: str) -> dict[str, Any]:
    told = Told(new_id(), event, job["at"], job["facts"])
    # A format that this release does not know was written by a later one: nobody is told in words of another.
    made = FORMATS[name].render(told) if name in FORMATS else None
    return {
        "id": told.id,
        "tenant": job["tenant"],
        "event": event,
        "type": None if made is None else made[0],
        "format": name,
        "facts": json.dumps(told.job),
    }
