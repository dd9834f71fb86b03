"""What receivers are to be told of an event: written in the transaction in which it happens, and addressed afterwards."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from sqlalchemy import text

from latentfarm.database import CHANNEL_DELIVERIES, notify
from latentfarm.errors import InvalidInput
from latentfarm.ids import new_id
from latentfarm.inputs.target import read_target
from latentfarm.logs import get_logger
from latentfarm.webhooks.formats import FORMATS
from latentfarm.webhooks.told import REFUSED, Told, default_id, wanted

if TYPE_CHECKING:
    from collections.abc import Mapping
    from uuid import UUID

    from sqlalchemy import Connection, RowMapping

# A function of its owner: whoever ends jobs, workers among them, need not read whose they are, or who wants to hear.
#: For RETURNING of statements on `jobs`: whether anybody wants to be told. Costs no round trip where nobody does.
HEARD = "heard(jobs.id, :event) AS heard"

_TELL = text("SELECT tell(:id, :event)")

_TAKE = text("""
    DELETE FROM news WHERE id IN (SELECT id FROM news ORDER BY id FOR UPDATE SKIP LOCKED LIMIT :limit)
    RETURNING id, job_id, event, tenant, webhook, at, facts,
        NOT EXISTS (SELECT FROM jobs j WHERE j.id = news.job_id AND j.deleted_at IS NULL) AS let_go
""")

# Datasets whose manifest was refused, and that have no job. Dry runs are nobody's news.
_REFUSED = text("""
    SELECT d.tenant, nullif(d.request -> 'webhook', 'null') AS webhook, now() AS at, false AS let_go, jsonb_build_object(
        'id', d.id, 'kind', 'dataset', 'state', d.phase, 'model', NULL, 'lane', 'bulk', 'priority', NULL,
        'seed', d.seed, 'num_images', 0, 'failed', 0, 'metadata', coalesce(d.request -> 'metadata', '{}'),
        'dataset', d.name, 'created_at', d.created_at, 'started_at', NULL, 'finished_at', now()) AS facts
    FROM datasets d WHERE d.id = :id AND d.phase = 'rejected' AND d.name NOT LIKE 'dry-run/%'
""")

# Batches that have ended as they were made, and so have no dataset: to their clients they end as others do.
_ENDED_AT_ONCE = text("""
    SELECT b.tenant, NULL AS webhook, b.created_at AS at, false AS let_go, jsonb_build_object(
        'id', b.id, 'kind', 'dataset', 'state', CAST(:state AS text), 'model', NULL, 'lane', 'bulk', 'priority', NULL,
        'seed', NULL, 'num_images', 0, 'failed', 0, 'metadata', b.metadata, 'dataset', NULL,
        'created_at', b.created_at, 'started_at', NULL, 'finished_at', b.created_at) AS facts
    FROM batches b WHERE b.id = :id
""")

# What a batch calls its end, where that is not what its job calls it.
_TAKEN_BACK = text("""
    SELECT CASE WHEN expired_at IS NOT NULL THEN 'expired' WHEN cancelled_at IS NOT NULL THEN 'cancelled' END
    FROM batches WHERE id = :id
""")

_HEEDED = text("""
    SELECT id, events, format FROM webhooks
    WHERE tenant = :tenant AND url IS NOT NULL AND disabled_at IS NULL ORDER BY id
""")

_ADD = text("""
    INSERT INTO deliveries (id, tenant, webhook_id, job_id, event, type, format, url, target, let_go, facts)
    VALUES (:id, :tenant, :webhook_id, :job_id, :event, :type, :format, :url, :target, :let_go, CAST(:facts AS jsonb))
""")


def write(connection: Connection, job_id: UUID, event: str) -> None:
    """Writes down what has happened to a job in this transaction, for whoever sends it, and wakes that one.

    Only what has happened can be written: `event` must be that of the job's state.
    """
    connection.execute(_TELL, {"id": job_id, "event": event})


def spread(connection: Connection, *, limit: int) -> int:
    """Makes deliveries of what was written down, for everybody who wants to be told; returns of how many events."""
    found = connection.execute(_TAKE, {"limit": limit}).mappings().all()
    for row in sorted(found, key=lambda one: int(one["id"])):
        _write(connection, row, row["job_id"], row["event"])
    return len(found)


def write_refusal(connection: Connection, dataset_id: UUID) -> int:
    """The same of a dataset whose manifest was refused just now; none where it was not."""
    refused = connection.execute(_REFUSED, {"id": dataset_id}).mappings().first()
    return 0 if refused is None else _write(connection, refused, dataset_id, REFUSED)


def write_batch(connection: Connection, batch_id: UUID, *, failed: bool) -> int:
    """The same of a batch that has ended as it was made, for those who are told of batches.

    Args:
        failed: its file was refused; else each of its requests was.
    """
    event, state = (REFUSED, "rejected") if failed else ("job.failed", "failed")
    ended = connection.execute(_ENDED_AT_ONCE, {"id": batch_id, "state": state}).mappings().one()
    return _write(connection, ended, batch_id, event, batches_only=True)


def _write(
    connection: Connection, ended: RowMapping, job_id: UUID, event: str, *, batches_only: bool = False
) -> int:
    is_dataset = ended["facts"]["kind"] == "dataset"
    batch = connection.execute(_TAKEN_BACK, {"id": job_id}).scalar() if is_dataset else None
    job = {**ended, "batch": batch}
    hooks = connection.execute(_HEEDED, {"tenant": job["tenant"]}).mappings()
    found = [
        _for_hook(job, event, hook)
        for hook in hooks
        if wanted(event, tuple(hook["events"])) and (_wants_batch(hook["format"]) or not batches_only)
    ]
    own = job["webhook"]
    if own is not None and wanted(event, tuple(own["events"])):
        found.append(_for_url(job, event, own))
    rows = [row | {"job_id": job_id} for row in found if row["type"] is not None]
    if rows:
        connection.execute(_ADD, rows)
        notify(connection, CHANNEL_DELIVERIES, "")
    return len(rows)


def _for_hook(job: Mapping[str, Any], event: str, hook: RowMapping) -> dict[str, Any]:
    row = _row(job, event, hook["format"])
    return row | {"webhook_id": hook["id"], "url": None, "target": str(hook["id"])}


def _for_url(job: Mapping[str, Any], event: str, own: dict[str, Any]) -> dict[str, Any]:
    row = _row(job, event, own["format"])
    try:
        host = read_target("webhook.url", own["url"]).authority
    except InvalidInput:
        # Another release has taken it. The job ends all the same, and each try will say what is wrong.
        host = ""
    return row | {"webhook_id": default_id(job["tenant"]), "url": own["url"], "target": host}


def _row(job: Mapping[str, Any], event: str, name: str) -> dict[str, Any]:
    facts = job["facts"]
    if job["batch"] is not None and _wants_batch(name):
        facts = {**facts, "batch": job["batch"]}
    told = Told(new_id(), event, job["at"], facts)
    return {
        "id": told.id,
        "tenant": job["tenant"],
        "let_go": job["let_go"],
        "event": event,
        "type": _type(name, told),
        "format": name,
        "facts": json.dumps(told.job),
    }


def _wants_batch(name: str) -> bool:
    return name in FORMATS and FORMATS[name].wants_batch


def _type(name: str, told: Told) -> str | None:
    """What a format calls an event; None: it has no words for it, or is one of a later release."""
    if name not in FORMATS:
        return None
    try:
        made = FORMATS[name].render(told)
    except Exception:  # noqa: BLE001 - a defect of words must not keep others from being told
        get_logger().exception("words_failed", format=name, job=told.job["id"])
        return told.event
    return None if made is None else made[0]
