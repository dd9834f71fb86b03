"""What users are told, and what they have asked before."""

from sqlalchemy import BigInteger, Column, DateTime, Index, LargeBinary, Sequence, Table, Text, func
from sqlalchemy.dialects.postgresql import JSONB, UUID

from latentfarm.tables.naming import created_at, metadata

idempotency = Table(
    "idempotency",
    metadata,
    Column("tenant", Text, primary_key=True),
    Column("key", Text, primary_key=True),
    created_at(),
    Column("fingerprint", LargeBinary, nullable=False),
    Column("job_id", UUID(as_uuid=True), nullable=False),
    Index("ix_idempotency_created_at", "created_at"),
)

outbox_id = Sequence("outbox_id_seq", metadata=metadata)

#: Job events, and later webhooks. Partitioned by day: old days are dropped, never deleted row by row.
outbox = Table(
    "outbox",
    metadata,
    Column("id", BigInteger, outbox_id, server_default=outbox_id.next_value(), primary_key=True),
    Column("created_at", DateTime(timezone=True), server_default=func.now(), primary_key=True),
    Column("job_id", UUID(as_uuid=True), nullable=False),
    Column("type", Text, nullable=False),
    Column("data", JSONB, nullable=False),
    Index("ix_outbox_job_id", "job_id", "id"),
    postgresql_partition_by="RANGE (created_at)",
)
