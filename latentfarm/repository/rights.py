"""What the database role of workers may do: claim, renew, finish, and nothing else.

Whoever migrates calls `keep`, so that the rights are those of this release after every migration. A test compares them
with what the workers of a real farm have asked the database for, as the database itself has parsed it.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from sqlalchemy import text
from sqlalchemy.engine import make_url

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from sqlalchemy import Connection

ROLE = "latentfarm_worker"
"""Name of the role where no setting names another one."""


EVERY = "*"
"""All columns, also those of releases to come: of tables that workers read as a whole."""


@dataclass(frozen=True, slots=True)
class Right:
    """Of one table: columns that may be read, given in new rows, and changed. Rows are deleted by nobody."""

    read: str = ""
    insert: str = ""
    update: str = ""

    def columns(self) -> Iterator[tuple[str, str]]:
        """Each privilege with each of its columns."""
        for privilege, names in (("SELECT", self.read), ("INSERT", self.insert), ("UPDATE", self.update)):
            for name in names.split():
                yield privilege, name


#: Nothing of keys, tenants, quotas, meters, uploads or idempotency; of jobs no tenant and no metadata.
RIGHTS = {
    "attempts": Right(
        read=EVERY,
        insert="render_id fence stage queue_id worker_id waited_s",
        update="ended_at steps outcome error_class message charged refunded refused_at",
    ),
    "checkpoints": Right(
        read="render_id fence step stage taken state key sha256 size",
        insert="render_id fence step stage taken state key",
        update="state sha256 size",
    ),
    "dataset_parts": Right(read="dataset_id number first count key sha256 size"),
    "datasets": Right(
        read="id name request seed fingerprint digest images report",
        update="published",
    ),
    "drains": Right(read="host device"),
    "inputs": Right(read="sha256 size key stored_at"),
    "jobs": Right(
        read="id spec_id lane state model waits queued remaining failed keep_latents finished_at cancelled_at paused_at",
        update="state queued remaining failed started_at finished_at",
    ),
    "objects": Right(
        read="render_id fence kind state key sha256 size notes",
        insert="render_id fence kind state key",
        update="state sha256 size notes",
    ),
    "outbox": Right(insert="job_id type data"),
    "queues": Right(read="id name stage model lane", insert="name stage model lane"),
    "redraws": Right(
        read="render_id number seed fence reasons", insert="render_id number seed fence reasons"
    ),
    "render_sources": Right(read="render_id object_render object_fence"),
    "renders": Right(
        read=EVERY,
        insert="job_id spec_id seed ordinal queue_id stage priority shard_id",
        update="queue_id fence state stage seed tries starts sends suspect owner due_at",
    ),
    "shards": Right(
        read="id dataset_id number part first count remaining failed state files redrawn",
        update="remaining failed state images seconds redrawn files sealed_at",
    ),
    "specs": Right(read="id body"),
    "workers": Right(
        read="id host pid device stages assigned_models loaded_models lease_until ready ready_at info ended_at"
        " end_reason",
        insert="host pid device stages models models_held assigned_models lease_until",
        update="loaded_models lease_until ready ready_at info ended_at end_reason rest_until",
    ),
}
SEQUENCES = ("outbox_id_seq",)
FUNCTIONS = {
    "forget_objects(bigint[], integer[])": "quotas",
    "heard(uuid, text)": "news",
    "tell(uuid, text)": "news",
}
"""Run as their owner: what a grant on the table would be too wide for. Each with a table that came with it."""

_KNOWN = text("""
    SELECT table_name, column_name FROM information_schema.columns WHERE table_schema = 'public'
""")

_HAS_ROLE = text("SELECT EXISTS (SELECT FROM pg_roles WHERE rolname = :role)")


def keep(connection: Connection, url: str | None) -> None:
    """Gives the role of workers what this release needs, and takes all else away; makes the role where it is missing.

    Args:
        url: as workers are to connect; its user is the role. None: that of the usual name, if there is one.

    Raises:
        sqlalchemy.exc.ProgrammingError: whoever migrates may make no roles; then an administrator makes it.
    """
    where = None if url is None else make_url(url)
    role = ROLE if where is None else where.username or ROLE
    if not connection.execute(_HAS_ROLE, {"role": role}).scalar():
        if where is None:
            return
        _make(connection, role, where.password or "")
    _say(connection, "REVOKE ALL ON ALL TABLES IN SCHEMA public FROM {}", role)
    _say(connection, "REVOKE ALL ON ALL SEQUENCES IN SCHEMA public FROM {}", role)
    known = {(row.table_name, row.column_name) for row in connection.execute(_KNOWN)}
    for statement in _grants(known):
        _say(connection, statement, role)


def _grants(known: Iterable[tuple[str, str]]) -> Iterator[str]:
    """Only of what is there: after a downgrade some is not."""
    columns = set(known)
    tables = {table for table, _ in columns}
    for table, right in RIGHTS.items():
        for privilege, column in right.columns():
            if column == EVERY and table in tables:
                yield f"GRANT {privilege} ON {table} TO {{}}"
            elif (table, column) in columns:
                yield f"GRANT {privilege} ({column}) ON {table} TO {{}}"
    if "quotas" in tables:
        yield from (f"GRANT USAGE ON SEQUENCE {sequence} TO {{}}" for sequence in SEQUENCES)
    for function, table in FUNCTIONS.items():
        if table in tables:
            yield f"GRANT EXECUTE ON FUNCTION {function} TO {{}}"


def _make(connection: Connection, role: str, password: str) -> None:
    _say(connection, "CREATE ROLE {} LOGIN NOSUPERUSER NOCREATEDB NOCREATEROLE NOINHERIT", role)
    if password:
        _say(connection, "ALTER ROLE {} PASSWORD {}", role, password)


def _say(connection: Connection, statement: str, role: str, literal: str = "") -> None:
    """A statement that takes no parameters: names and texts are put into it, quoted by the driver."""
    from psycopg import sql

    composed = sql.SQL(statement).format(sql.Identifier(role), *([sql.Literal(literal)] if literal else []))
    connection.exec_driver_sql(composed.as_string(None).replace("%", "%%"))
