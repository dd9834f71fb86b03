"""Deliveries are claimed, tried, and end or wait for their next try.

A claim is a lease: `due_at` moves into the future, so that a deliverer that dies is followed by another one, and
`claims`, which every claim raises, is the fence of what comes of it. So each is tried at least once, by whoever is
alive, and the word of one that was thought dead is not heard.
"""

from __future__ import annotations

import json
from datetime import UTC
from typing import TYPE_CHECKING, Any

from sqlalchemy import text

from latentfarm.predictions import MOST_SHOWN
from latentfarm.repository import reading, webhooks
from latentfarm.webhooks.formats import FORMATS
from latentfarm.webhooks.hook import Post, Waiting
from latentfarm.webhooks.told import ENDS, Told

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from uuid import UUID

    from sqlalchemy import Connection, Row

    from latentfarm.records import Image

LOGGED = 20
"""Tries of one delivery that are kept."""

# One probe of the index for each receiver that has something due; the first few of each, and of tenants by turns.
# Neither a receiver with a million deliveries nor a tenant with a million receivers hides the others.
_WAITING = text("""
    WITH RECURSIVE targets AS (
        (SELECT tenant, target FROM deliveries WHERE state = 'due' ORDER BY tenant, target LIMIT 1)
        UNION ALL
        SELECT n.tenant, n.target FROM targets t, LATERAL (
            SELECT d.tenant, d.target FROM deliveries d
            WHERE d.state = 'due' AND (d.tenant, d.target) > (t.tenant, t.target)
            ORDER BY d.tenant, d.target LIMIT 1) AS n),
    firsts AS (
        SELECT f.id, t.tenant, t.target, f.due_at FROM targets t, LATERAL (
            SELECT d.id, d.due_at FROM deliveries d
            WHERE d.state = 'due' AND d.tenant = t.tenant AND d.target = t.target AND d.due_at <= now()
            ORDER BY d.due_at LIMIT :each) AS f)
    SELECT id, tenant, target FROM firsts
    ORDER BY row_number() OVER (PARTITION BY tenant, target ORDER BY due_at, id),
             row_number() OVER (PARTITION BY tenant ORDER BY due_at, id), due_at
    LIMIT :limit
""")

_CLAIM = text("""
    WITH mine AS (
        SELECT id FROM deliveries WHERE id = ANY (CAST(:ids AS uuid[])) AND state = 'due' AND due_at <= now()
        ORDER BY id FOR UPDATE SKIP LOCKED)
    UPDATE deliveries d SET claims = claims + 1, due_at = now() + make_interval(secs => CAST(:lease_s AS float))
    FROM mine WHERE d.id = mine.id RETURNING d.id
""")

_POSTS = text("""
    SELECT clock_timestamp() AS claimed_at, d.id, d.tenant, d.target, d.job_id, d.webhook_id, d.claims, d.tries, coalesce(d.url, w.url) AS url, d.format,
           d.event, d.created_at, d.facts, w.secret, CASE WHEN w.old_until > now() THEN w.old_secret END AS old_secret,
           CASE WHEN d.format = ANY (CAST(:pictured AS text[])) THEN (
               SELECT s.body FROM jobs j JOIN specs s ON s.id = j.spec_id WHERE j.id = d.job_id) END AS picture
    FROM deliveries d LEFT JOIN webhooks w ON w.id = d.webhook_id
    WHERE d.id = ANY (CAST(:ids AS uuid[])) ORDER BY d.id
""")

_END = text(f"""
    UPDATE deliveries SET state = :state, tries = tries + :failed,
        due_at = now() + make_interval(secs => CAST(:delay_s AS float)),
        ended_at = CASE WHEN :state <> 'due' THEN now() END,
        log = CASE WHEN jsonb_array_length(log) < {LOGGED} THEN log ELSE log - 0 END || CAST(:try AS jsonb)
    WHERE id = :id AND claims = :claims AND state = 'due' RETURNING webhook_id
""")  # noqa: S608 - no input in it

_TAKEN = text("""
    UPDATE webhooks SET failing_since = NULL WHERE id = :id AND failing_since IS NOT NULL AND url = :url
""")

_FAILING = text("""
    UPDATE webhooks SET failing_since = now() WHERE id = :id AND failing_since IS NULL AND url = :url
""")

_MOVED = text("""
    SELECT EXISTS (SELECT FROM deliveries d JOIN webhooks w ON w.id = d.webhook_id
                   WHERE d.id = :id AND d.url IS NULL AND w.url <> :url)
""")

_FAILING_S = text("""
    SELECT EXTRACT(EPOCH FROM now() - failing_since)::float FROM webhooks WHERE id = :id AND failing_since IS NOT NULL
""")

_ORPHANED = text(
    "UPDATE deliveries SET state = 'failed', ended_at = now() WHERE id = ANY (CAST(:ids AS uuid[]))"
)

_FORGET = text("""
    DELETE FROM deliveries WHERE id IN (
        SELECT id FROM deliveries WHERE created_at < now() - make_interval(secs => CAST(:keep_s AS float))
        ORDER BY created_at LIMIT :limit FOR UPDATE SKIP LOCKED)
""")

_FORGET_LET_GO = text("""
    DELETE FROM deliveries WHERE id IN (
        SELECT id FROM deliveries WHERE let_go AND state <> 'due' ORDER BY id LIMIT :limit FOR UPDATE SKIP LOCKED)
""")

# Who makes deliveries of news deletes these first: either it is done, and what it has made is seen, or it finds out.
_LOCK_NEWS = text("SELECT id FROM news WHERE job_id = :job ORDER BY id FOR UPDATE")
_LET_GO = text("UPDATE deliveries SET let_go = true WHERE job_id = :job")

_COUNT_DUE = text("""
    SELECT count(*), count(*) FILTER (WHERE due_at < now() - interval '60 s') FROM deliveries WHERE state = 'due'
""")


def waiting(connection: Connection, *, each: int, limit: int) -> list[Waiting]:
    """What could be tried now, in the order in which it should be; at most `each` of one receiver."""
    return [Waiting(*row) for row in connection.execute(_WAITING, {"each": each, "limit": limit})]


def claim(
    connection: Connection,
    wanted: Sequence[Waiting],
    *,
    lease_s: float,
    api_url: str,
    new_secret: Callable[[], str],
) -> list[Post]:
    """Takes what nobody else has taken.

    Args:
        lease_s: seconds after which it counts as not tried; longer than a try can take.
        new_secret: for the default webhooks of tenants whose jobs are the first to name a URL.
    """
    values = {"ids": [one.id for one in wanted], "lease_s": lease_s}
    ids = connection.execute(_CLAIM, values).scalars().all()
    rows = _posts(connection, ids)
    nameless = sorted({row.tenant for row in rows if row.secret is None and row.url is not None})
    if nameless:
        for tenant in nameless:
            webhooks.ensure_default(connection, tenant, new_secret())
        rows = _posts(connection, ids)
    # Their webhook was deleted after the job had read it.
    orphans = [row.id for row in rows if row.url is None]
    if orphans:
        connection.execute(_ORPHANED, {"ids": orphans})
    return [_post(row, api_url, _images(connection, row)) for row in rows if row.url is not None]


def _images(connection: Connection, row: Row[Any]) -> tuple[Image, ...]:
    """Those that a prediction shows; none for other formats, or before the end."""
    if row.picture is None or row.event not in ENDS:
        return ()
    return tuple(reading.images(connection, row.job_id, limit=MOST_SHOWN))


def _posts(connection: Connection, ids: Sequence[UUID]) -> Sequence[Row[Any]]:
    pictured = [name for name, form in FORMATS.items() if form.wants_picture]
    return connection.execute(_POSTS, {"ids": ids, "pictured": pictured}).all()


def taken(connection: Connection, post: Post, entry: dict[str, Any]) -> bool:
    """The receiver has it; False when somebody else has claimed the delivery since."""
    if not _record(connection, post, entry, "delivered", 0.0):
        return False
    connection.execute(_TAKEN, {"id": post.webhook_id, "url": post.url})
    return True


def failed(connection: Connection, post: Post, entry: dict[str, Any], delay_s: float | None) -> bool:
    """The try came to nothing: the next one is in `delay_s`, or there is none; False as of `taken`."""
    state = "failed" if delay_s is None else "due"
    if not _record(connection, post, entry, state, delay_s or 0.0):
        return False
    connection.execute(_FAILING, {"id": post.webhook_id, "url": post.url})
    return True


def moved(connection: Connection, post: Post) -> bool:
    """Whether its webhook was led elsewhere since the try began: what came of it says nothing of where it leads now."""
    return bool(connection.execute(_MOVED, {"id": post.waiting.id, "url": post.url}).scalar())


def failing_s(connection: Connection, webhook_id: UUID) -> float:
    """Seconds for which a webhook has taken nothing that it was sent."""
    return float(connection.execute(_FAILING_S, {"id": webhook_id}).scalar() or 0.0)


def let_go(connection: Connection, job_id: UUID) -> None:
    """The rows of the deliveries of a job go, those that wait once they have come to their end.

    Those of what is only written down so far, too: whoever makes them looks at the job.
    """
    connection.execute(_LOCK_NEWS, {"job": job_id})
    connection.execute(_LET_GO, {"job": job_id})


def forget(connection: Connection, *, keep_s: float, limit: int) -> int:
    """Deletes the rows of deliveries that are older, or were let go; returns how many."""
    gone = connection.execute(_FORGET_LET_GO, {"limit": limit}).rowcount
    return gone + connection.execute(_FORGET, {"keep_s": keep_s, "limit": limit}).rowcount


def count_due(connection: Connection) -> tuple[int, int]:
    """Deliveries that wait for a try, and those of them that should have had it a minute ago."""
    due, overdue = connection.execute(_COUNT_DUE).one()
    return due, overdue


def _record(connection: Connection, post: Post, entry: dict[str, Any], state: str, delay_s: float) -> bool:
    values = {
        "id": post.waiting.id,
        "claims": post.claims,
        "state": state,
        "failed": 0 if state == "delivered" else 1,
        "delay_s": delay_s,
        "try": json.dumps([entry]),
    }
    return connection.execute(_END, values).first() is not None


def _post(row: Row[Any], api_url: str, images: tuple[Image, ...]) -> Post:
    told = Told(row.id, row.event, row.created_at, row.facts, api_url, row.picture, row.tenant, images)
    return Post(
        waiting=Waiting(row.id, row.tenant, row.target),
        webhook_id=row.webhook_id,
        claimed_at=row.claimed_at.astimezone(UTC),
        claims=row.claims,
        tries=row.tries,
        url=row.url,
        format=row.format,
        told=told,
        signers=(row.secret,) if row.old_secret is None else (row.secret, row.old_secret),
    )
