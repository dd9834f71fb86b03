"""Webhooks: who is told of the end of jobs, and what was sent to whom."""

from sqlalchemy import (
    BigInteger,
    Boolean,
    Column,
    DateTime,
    Identity,
    Index,
    Integer,
    SmallInteger,
    Table,
    Text,
    text,
)
from sqlalchemy.dialects.postgresql import ARRAY, JSONB, UUID

from latentfarm.tables.naming import created_at, metadata

_TIME = DateTime(timezone=True)

webhooks = Table(
    "webhooks",
    metadata,
    Column("id", UUID(as_uuid=True), primary_key=True),
    created_at(),
    Column("tenant", Text, nullable=False),
    Column("url", Text, comment="null: the default of its tenant, which signs what goes to URLs of jobs"),
    Column("events", ARRAY(Text), nullable=False, server_default=text("'{}'"), comment="empty: ends of jobs"),
    Column("format", Text, nullable=False, server_default="native"),
    Column("secret", Text, nullable=False, comment="whsec_...; needed whole, since it signs"),
    Column("old_secret", Text, comment="that it was rotated from; signs too until old_until"),
    Column("old_until", _TIME),
    Column("failing_since", _TIME, comment="the first try that failed since one was taken"),
    Column("disabled_at", _TIME),
    Column("disabled_reason", Text, comment="asked, gone or failing"),
    Index(
        "ix_webhooks_heeded",
        "tenant",
        "id",
        postgresql_where=text("url IS NOT NULL AND disabled_at IS NULL"),
    ),
    Index("ix_webhooks_tenant", "tenant", "id"),
)

#: Written in the transaction in which the event happens, where somebody wants to hear of it; soon made deliveries of.
news = Table(
    "news",
    metadata,
    Column("id", BigInteger, Identity(always=True), primary_key=True),
    Column("job_id", UUID(as_uuid=True), nullable=False),
    Column("event", Text, nullable=False, comment="job.succeeded, ..."),
    Column("tenant", Text, nullable=False),
    Column("webhook", JSONB, comment="that the job named itself"),
    Column("at", _TIME, nullable=False, server_default=text("now()")),
    Column("facts", JSONB, nullable=False, comment="of the job when it happened; no prompts"),
)

#: What is sent, and how that went.
deliveries = Table(
    "deliveries",
    metadata,
    Column("id", UUID(as_uuid=True), primary_key=True),
    created_at(),
    Column("tenant", Text, nullable=False),
    Column("webhook_id", UUID(as_uuid=True), nullable=False, comment="whose secret signs"),
    Column("job_id", UUID(as_uuid=True), nullable=False),
    Column("event", Text, nullable=False, comment="job.succeeded, ..."),
    Column("type", Text, nullable=False, comment="what its format calls the event"),
    Column("format", Text, nullable=False),
    Column("url", Text, comment="that the job named; null: the webhook's"),
    Column("target", Text, nullable=False, comment="webhook or host: tries at it at once are bounded"),
    Column("facts", JSONB, nullable=False, comment="of the job when it happened; no prompts"),
    Column("state", Text, nullable=False, server_default="due", comment="due, delivered or failed"),
    Column("due_at", _TIME, nullable=False, server_default=text("now()")),
    Column("claims", Integer, nullable=False, server_default="0", comment="the fence of a try"),
    Column(
        "tries", SmallInteger, nullable=False, server_default="0", comment="that failed since the last replay"
    ),
    Column(
        "log",
        JSONB,
        nullable=False,
        server_default=text("'[]'::jsonb"),
        comment="the last tries: at, status, error, ms",
    ),
    Column("ended_at", _TIME),
    Column(
        "let_go",
        Boolean,
        nullable=False,
        server_default=text("false"),
        comment="its job was thrown away: the row goes once it has ended",
    ),
    # What is due, by whom and for whom. Only what waits is in it, however much was delivered.
    Index("ix_deliveries_due", "tenant", "target", "due_at", postgresql_where=text("state = 'due'")),
    Index("ix_deliveries_webhook", "webhook_id", "id"),
    Index("ix_deliveries_created_at", "created_at"),
    Index("ix_deliveries_job_id", "job_id"),
    Index("ix_deliveries_let_go", "id", postgresql_where=text("let_go AND state <> 'due'")),
)
