"""Pictures that jobs start from: planned before their object is put, kept while a job needs them.

Whoever uses an input locks its row, and so does the sweep that deletes it: either the job finds the row
gone and is refused, or the sweep finds the job.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from sqlalchemy import text

from latentfarm.errors import InvalidInput
from latentfarm.keys import input_key
from latentfarm.records import ObjectRef, Shape, StoredInput
from latentfarm.repository.retaining import release

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping, Sequence
    from uuid import UUID

    from sqlalchemy import Connection, Row

_PLAN = text("""
    INSERT INTO inputs (sha256, size, width, height, format)
    VALUES (:sha256, :size, :width, :height, :format)
    ON CONFLICT (sha256) DO UPDATE SET last_used = now() RETURNING stored_at IS NOT NULL AS stored
""")

# What is a picture of a user's already stays where it is. In one order, as everywhere.
_ADOPT = text("""
    INSERT INTO inputs (sha256, size, width, height, format, stored_at, key)
    SELECT DISTINCT ON (sha256) sha256, size, :width, :height, :format, now(), key
    FROM unnest(CAST(:shas AS bytea[]), CAST(:sizes AS int[]), CAST(:keys AS text[])) AS a(sha256, size, key)
    ORDER BY sha256
    ON CONFLICT (sha256) DO UPDATE SET last_used = now(), stored_at = coalesce(inputs.stored_at, now()),
        key = CASE WHEN inputs.stored_at IS NULL THEN excluded.key ELSE inputs.key END
""")

_STORED = text("UPDATE inputs SET stored_at = coalesce(stored_at, now()) WHERE sha256 = :sha256")

_FIND = text("""
    SELECT sha256, size, width, height, format, key FROM inputs i
    WHERE sha256 = :sha256 AND stored_at IS NOT NULL AND (:known OR EXISTS (
        SELECT FROM job_inputs u JOIN jobs j ON j.id = u.job_id
        WHERE u.sha256 = i.sha256 AND j.tenant = :tenant))
""")

_REFS = text("""
    SELECT sha256, size, key FROM inputs WHERE sha256 = ANY (CAST(:shas AS bytea[])) AND stored_at IS NOT NULL
""")

# In one order, so that two jobs with the same two inputs cannot wait for each other in a circle.
_TOUCH = text("""
    WITH locked AS (
        SELECT sha256 FROM inputs WHERE sha256 = ANY (CAST(:shas AS bytea[])) AND stored_at IS NOT NULL
        ORDER BY sha256 FOR UPDATE)
    UPDATE inputs i SET last_used = now() FROM locked WHERE i.sha256 = locked.sha256 RETURNING i.sha256
""")

_USE = text("""
    INSERT INTO job_inputs (sha256, job_id) SELECT unnest(CAST(:shas AS bytea[])), :job_id
""")

_IN_USE = """
    SELECT FROM job_inputs u JOIN jobs j ON j.id = u.job_id
    WHERE u.sha256 = i.sha256 AND (j.finished_at IS NULL OR j.finished_at > now() - make_interval(secs => :keep_s))
"""

_UNUSED = text(f"""
    SELECT i.sha256 FROM inputs i
    WHERE i.stored_at IS NOT NULL AND i.last_used < now() - make_interval(secs => :keep_s)
      AND NOT EXISTS ({_IN_USE})
    ORDER BY i.last_used LIMIT :limit FOR UPDATE OF i SKIP LOCKED
""")  # noqa: S608 - no input in it

# Asked again once the rows are locked: a job that was committed meanwhile is seen only by a new statement.
_RETIRE = text(f"""
    UPDATE inputs i SET stored_at = NULL
    WHERE i.sha256 = ANY (CAST(:shas AS bytea[])) AND NOT EXISTS ({_IN_USE}) RETURNING i.sha256
""")  # noqa: S608 - no input in it

# Those of a job may be planned again: they were found missing, and may be given once more.
_PLANNED = text(f"""
    SELECT i.sha256 FROM inputs i
    WHERE i.stored_at IS NULL AND i.last_used < now() - make_interval(secs => :after_s)
      AND NOT EXISTS ({_IN_USE})
    ORDER BY i.last_used LIMIT :limit FOR UPDATE OF i SKIP LOCKED
""")  # noqa: S608 - no input in it

_LOST = text("""
    UPDATE inputs SET stored_at = NULL, key = NULL
    WHERE sha256 = :sha256 AND stored_at IS NOT NULL AND key IS NOT DISTINCT FROM :key
""")

_FORGET = text("DELETE FROM inputs WHERE sha256 = ANY (CAST(:shas AS bytea[])) RETURNING key")


def plan(connection: Connection, sha256: bytes, size: int, shape: Shape) -> bool:
    """Writes an input down before its object is put; True when the object is there already."""
    values = {"sha256": sha256, "size": size, "format": shape.format}
    sides = {"width": shape.width, "height": shape.height}
    return bool(connection.execute(_PLAN, values | sides).scalar_one())


def adopt(connection: Connection, refs: Sequence[ObjectRef], shape: Shape) -> None:
    """Takes objects that renders have left for inputs, where they lie; all of one shape.

    The sweep forgets such an input as any other, and leaves its object to the render.
    """
    sides = {"width": shape.width, "height": shape.height, "format": shape.format}
    lists = {
        "shas": [ref.sha256 for ref in refs],
        "sizes": [ref.size for ref in refs],
        "keys": [ref.key for ref in refs],
    }
    connection.execute(_ADOPT, sides | lists)


def mark_stored(connection: Connection, sha256: bytes) -> None:
    """Its object is in the bucket."""
    connection.execute(_STORED, {"sha256": sha256})


def find(connection: Connection, sha256: bytes, *, tenant: str, known: bool) -> StoredInput | None:
    """An input, while it is kept.

    Args:
        known: the tenant is known to have had these bytes; else a job of the tenant must have used them.
    """
    row = connection.execute(_FIND, {"sha256": sha256, "tenant": tenant, "known": known}).first()
    return None if row is None else _stored(row)


def refs(connection: Connection, shas: Collection[bytes]) -> dict[bytes, ObjectRef]:
    """Where inputs lie, by SHA-256; those that are not kept are left out."""
    if not shas:
        return {}
    rows = connection.execute(_REFS, {"shas": list(shas)})
    return {bytes(row.sha256): _ref(row) for row in rows}


def use(connection: Connection, job_id: UUID, wanted: Mapping[str, bytes]) -> None:
    """Ties a job to its inputs, in the transaction that stores the job.

    Args:
        wanted: SHA-256 by field of the spec.

    Raises:
        InvalidInput: one was swept away a moment ago; names the field.
    """
    if not wanted:
        return
    shas = sorted(set(wanted.values()))
    kept = {bytes(row.sha256) for row in connection.execute(_TOUCH, {"shas": shas})}
    for field, sha256 in wanted.items():
        if sha256 not in kept:
            raise InvalidInput(field, "the picture is no longer kept", "give it again")
    connection.execute(_USE, {"shas": shas, "job_id": job_id})


def retire(connection: Connection, *, keep_s: float, limit: int) -> list[bytes]:
    """Takes inputs that nobody needs out of use, as if they were planned again; their objects are still there.

    Those are unused for `keep_s`, and by no job that lives or ended within that time.
    """
    locked = list(connection.execute(_UNUSED, {"keep_s": keep_s, "limit": limit}).scalars())
    if not locked:
        return []
    return [
        bytes(sha256) for sha256 in connection.execute(_RETIRE, {"shas": locked, "keep_s": keep_s}).scalars()
    ]


def planned(connection: Connection, *, keep_s: float, after_s: float, limit: int) -> list[bytes]:
    """Inputs that nobody can use or needs, and whose upload, if one was ever under way, began `after_s` ago."""
    values = {"keep_s": keep_s, "after_s": after_s, "limit": limit}
    return [bytes(sha256) for sha256 in connection.execute(_PLANNED, values).scalars()]


def touch(connection: Connection, shas: Collection[bytes]) -> dict[bytes, ObjectRef]:
    """Keeps inputs for as long as if a job had just used them; those that are still kept."""
    found = connection.execute(_TOUCH, {"shas": list(shas)}).scalars() if shas else ()
    return refs(connection, [bytes(sha256) for sha256 in found])


def lose(connection: Connection, ref: ObjectRef) -> bool:
    """The object is not there, or is not what was put: whoever gives the picture again puts it again."""
    key = None if ref.key == input_key(ref.sha256) else ref.key
    return connection.execute(_LOST, {"sha256": ref.sha256, "key": key}).rowcount > 0


def forget(connection: Connection, shas: Sequence[bytes]) -> None:
    """Deletes the rows of inputs whose objects are gone, or were renders' own and may go with those."""
    keys = connection.execute(_FORGET, {"shas": list(shas)}).scalars()
    release(connection, [key for key in keys if key is not None])


def _stored(row: Row[tuple[object, ...]]) -> StoredInput:
    return StoredInput(_ref(row), Shape(row.format, row.width, row.height))


def _ref(row: Row[tuple[object, ...]]) -> ObjectRef:
    sha256 = bytes(row.sha256)
    return ObjectRef(row.key or input_key(sha256), sha256, row.size)
