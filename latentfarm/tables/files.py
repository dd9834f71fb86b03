"""Files that clients send or that are kept for them, and batches of requests that were made of such files."""

from sqlalchemy import (
    BigInteger,
    Boolean,
    Column,
    DateTime,
    Index,
    Integer,
    LargeBinary,
    Table,
    Text,
    text,
)
from sqlalchemy.dialects.postgresql import JSONB, UUID

from latentfarm.tables.naming import created_at, metadata

files = Table(
    "files",
    metadata,
    Column("id", UUID(as_uuid=True), primary_key=True),
    created_at(),
    Column("tenant", Text, nullable=False),
    Column("purpose", Text, nullable=False, comment="batch; lines: what is kept of a batch"),
    Column("filename", Text, nullable=False),
    Column("size", BigInteger, nullable=False, comment="bytes"),
    Column("stored_at", DateTime(timezone=True), comment="when the object was there; before: planned"),
    Column("expires_at", DateTime(timezone=True), comment="nobody sees it from then on; null: kept for ever"),
    Index("ix_files_tenant_id", "tenant", "id"),
    Index("ix_files_expires_at", "expires_at"),
)

#: The id of a batch is that of its dataset, and so of its job, where at least one of its requests can be rendered.
batches = Table(
    "batches",
    metadata,
    Column("id", UUID(as_uuid=True), primary_key=True),
    created_at(),
    Column("tenant", Text, nullable=False),
    Column("fingerprint", LargeBinary, nullable=False, comment="SHA-256 of what was asked"),
    Column("input_file", UUID(as_uuid=True), nullable=False),
    Column("endpoint", Text, nullable=False),
    Column("completion_window", Text, nullable=False),
    Column("metadata", JSONB, nullable=False, server_default=text("'{}'::jsonb")),
    Column("requests", Integer, nullable=False, comment="lines of its file"),
    Column("refused", Integer, nullable=False, comment="of these, that cannot be rendered"),
    Column("single", Boolean, nullable=False, comment="each request asks for one image"),
    Column("errors", JSONB, nullable=False, server_default=text("'[]'::jsonb"), comment="of the whole file"),
    Column("lines", UUID(as_uuid=True), comment="the file with a line per request"),
    Column(
        "expires_at", DateTime(timezone=True), nullable=False, comment="what has not ended then is taken back"
    ),
    Column("watched", Boolean, nullable=False, comment="may have to be taken back yet"),
    Column("cancelled_at", DateTime(timezone=True), comment="when its user took it back"),
    Column("expired_at", DateTime(timezone=True), comment="when its time was over"),
    Column("output_deleted_at", DateTime(timezone=True), comment="when its user deleted the output file"),
    Column("errors_deleted_at", DateTime(timezone=True), comment="when its user deleted the error file"),
    Index("ix_batches_tenant_id", "tenant", "id"),
    Index("ix_batches_watched", "expires_at", postgresql_where=text("watched")),
)
