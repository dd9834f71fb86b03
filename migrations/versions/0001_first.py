"""Specs, jobs, renders, attempts, objects, workers and the outbox.

Revision ID: 0001
Revises:
"""

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

revision = "0001"
down_revision = None
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Makes every table; `renders` after the `jobs` that it refers to."""
    _specs()
    _queues()
    _jobs()
    _renders()
    _workers()
    _attempts()
    _objects()
    _idempotency()
    _outbox()


def downgrade() -> None:
    """Drops them in the other direction."""
    for table in (
        "outbox",
        "idempotency",
        "objects",
        "attempts",
        "workers",
        "renders",
        "jobs",
        "queues",
        "specs",
    ):
        op.drop_table(table)
    op.execute("DROP SEQUENCE outbox_id_seq")


def _specs() -> None:
    op.create_table(
        "specs",
        sa.Column("id", sa.BigInteger(), sa.Identity(always=False), nullable=False),
        sa.Column("digest", sa.LargeBinary(), nullable=False, comment="SHA-256 of the canonical JSON"),
        sa.Column(
            "body", postgresql.JSONB(astext_type=sa.Text()), nullable=False, comment="RenderSpec.picture()"
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_specs")),
        sa.UniqueConstraint("digest", name=op.f("uq_specs_digest")),
    )


def _queues() -> None:
    op.create_table(
        "queues",
        sa.Column("id", sa.Integer(), sa.Identity(always=False), nullable=False),
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("stage", sa.SmallInteger(), nullable=False),
        sa.Column("model", sa.Text(), nullable=False),
        sa.Column("lane", sa.Text(), nullable=False),
        sa.Column(
            "wait_s",
            sa.REAL(),
            server_default="0",
            nullable=False,
            comment="measured seconds from message to claim",
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_queues")),
        sa.UniqueConstraint("name", name=op.f("uq_queues_name")),
    )


def _jobs() -> None:
    op.create_table(
        "jobs",
        sa.Column("id", sa.UUID(), nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.Column("tenant", sa.Text(), server_default="", nullable=False),
        sa.Column("kind", sa.Text(), nullable=False),
        sa.Column("spec_id", sa.BigInteger(), nullable=False),
        sa.Column("lane", sa.Text(), nullable=False),
        sa.Column("priority", sa.SmallInteger(), nullable=False),
        sa.Column("state", sa.Text(), nullable=False),
        sa.Column("seed", sa.BigInteger(), nullable=False),
        sa.Column("num_images", sa.Integer(), nullable=False),
        sa.Column("remaining", sa.Integer(), nullable=False, comment="renders that are not final"),
        sa.Column("queued", sa.Integer(), nullable=False, comment="renders in state queued"),
        sa.Column("failed", sa.Integer(), server_default="0", nullable=False),
        sa.Column("keep_latents", sa.Integer(), nullable=False, comment="seconds after the end"),
        sa.Column(
            "user_metadata",
            postgresql.JSONB(astext_type=sa.Text()),
            server_default=sa.text("'{}'::jsonb"),
            nullable=False,
        ),
        sa.Column("started_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("finished_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("cancelled_at", sa.DateTime(timezone=True), nullable=True),
        sa.ForeignKeyConstraint(["spec_id"], ["specs.id"], name=op.f("fk_jobs_spec_id")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_jobs")),
    )
    op.create_index("ix_jobs_finished_at", "jobs", ["finished_at"], unique=False)
    op.create_index(
        "ix_jobs_open", "jobs", ["id"], unique=False, postgresql_where=sa.text("finished_at IS NULL")
    )
    op.create_index("ix_jobs_tenant_id", "jobs", ["tenant", "id"], unique=False)


def _renders() -> None:
    op.create_table(
        "renders",
        sa.Column("id", sa.BigInteger(), sa.Identity(always=False), nullable=False),
        sa.Column("job_id", sa.UUID(), nullable=False),
        sa.Column("spec_id", sa.BigInteger(), nullable=False),
        sa.Column("seed", sa.BigInteger(), nullable=False),
        sa.Column("ordinal", sa.Integer(), nullable=False, comment="index of the image in its job"),
        sa.Column("queue_id", sa.Integer(), nullable=False),
        sa.Column("fence", sa.Integer(), server_default="0", nullable=False),
        sa.Column("state", sa.SmallInteger(), server_default="0", nullable=False),
        sa.Column("stage", sa.SmallInteger(), nullable=False),
        sa.Column("priority", sa.SmallInteger(), server_default="0", nullable=False),
        sa.Column(
            "tries",
            sa.SmallInteger(),
            server_default="0",
            nullable=False,
            comment="charged failures in this stage",
        ),
        sa.Column("starts", sa.SmallInteger(), server_default="0", nullable=False, comment="claims in all"),
        sa.Column(
            "sends",
            sa.SmallInteger(),
            server_default="0",
            nullable=False,
            comment="messages since dispatched",
        ),
        sa.Column("suspect", sa.Boolean(), server_default=sa.text("false"), nullable=False),
        sa.Column("owner", sa.BigInteger(), nullable=True, comment="the incarnation that runs it"),
        sa.Column("due_at", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.Column("sent_at", sa.DateTime(timezone=True), nullable=True),
        sa.ForeignKeyConstraint(["job_id"], ["jobs.id"], name=op.f("fk_renders_job_id")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_renders")),
        sa.UniqueConstraint("job_id", "ordinal", name=op.f("uq_renders_job_id_ordinal")),
        postgresql_with={
            "fillfactor": "70",
            "autovacuum_vacuum_scale_factor": "0.02",
            "autovacuum_vacuum_threshold": "1000",
            "autovacuum_vacuum_cost_delay": "0",
        },
    )
    _renders_indexes()


def _renders_indexes() -> None:
    op.create_index(
        "ix_renders_dispatched",
        "renders",
        ["queue_id", "sent_at"],
        unique=False,
        postgresql_where=sa.text("state = 1"),
    )
    op.create_index(
        "ix_renders_due",
        "renders",
        ["queue_id", sa.literal_column("priority DESC"), "due_at", "id"],
        unique=False,
        postgresql_where=sa.text("state = 0"),
    )
    op.create_index(
        "ix_renders_running", "renders", ["owner"], unique=False, postgresql_where=sa.text("state = 2")
    )


def _workers() -> None:
    op.create_table(
        "workers",
        sa.Column(
            "id", sa.BigInteger(), sa.Identity(always=False), nullable=False, comment="one incarnation"
        ),
        sa.Column("created_at", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.Column("host", sa.Text(), nullable=False),
        sa.Column("pid", sa.Integer(), nullable=False),
        sa.Column("device", sa.Text(), nullable=False),
        sa.Column("stages", postgresql.ARRAY(sa.SmallInteger()), nullable=False),
        sa.Column("assigned_models", postgresql.ARRAY(sa.Text()), nullable=False),
        sa.Column("lease_until", sa.DateTime(timezone=True), nullable=False),
        sa.Column("ready", sa.Boolean(), server_default=sa.text("false"), nullable=False),
        sa.Column(
            "info",
            postgresql.JSONB(astext_type=sa.Text()),
            server_default=sa.text("'{}'::jsonb"),
            nullable=False,
        ),
        sa.Column("ended_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("end_reason", sa.Text(), nullable=True),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_workers")),
    )
    op.create_index(
        "ix_workers_live",
        "workers",
        ["lease_until"],
        unique=False,
        postgresql_where=sa.text("ended_at IS NULL"),
    )


def _attempts() -> None:
    op.create_table(
        "attempts",
        sa.Column("render_id", sa.BigInteger(), nullable=False),
        sa.Column("fence", sa.Integer(), nullable=False),
        sa.Column("stage", sa.SmallInteger(), nullable=False),
        sa.Column("queue_id", sa.Integer(), nullable=False),
        sa.Column("worker_id", sa.BigInteger(), nullable=False),
        sa.Column("started_at", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.Column("waited_s", sa.REAL(), nullable=False, comment="from the last message to the claim"),
        sa.Column("ended_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("steps", sa.SmallInteger(), nullable=True),
        sa.Column("outcome", sa.Text(), nullable=True),
        sa.Column("error_class", sa.Text(), nullable=True),
        sa.Column("message", sa.Text(), nullable=True),
        sa.PrimaryKeyConstraint("render_id", "fence", name=op.f("pk_attempts")),
    )
    op.create_index("ix_attempts_started_at", "attempts", ["started_at"], unique=False)


def _objects() -> None:
    op.create_table(
        "objects",
        sa.Column("render_id", sa.BigInteger(), nullable=False),
        sa.Column("fence", sa.Integer(), nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.Column("kind", sa.Text(), nullable=False, comment="latents or image"),
        sa.Column("state", sa.Text(), nullable=False, comment="planned or visible"),
        sa.Column("key", sa.Text(), nullable=False),
        sa.Column("sha256", sa.LargeBinary(), nullable=True),
        sa.Column("size", sa.BigInteger(), nullable=True),
        sa.Column(
            "notes",
            postgresql.JSONB(astext_type=sa.Text()),
            server_default=sa.text("'{}'::jsonb"),
            nullable=False,
        ),
        sa.PrimaryKeyConstraint("render_id", "fence", name=op.f("pk_objects")),
    )
    op.create_index(
        "ix_objects_latents",
        "objects",
        ["render_id"],
        unique=False,
        postgresql_where=sa.text("kind = 'latents'"),
    )
    op.create_index(
        "ix_objects_planned",
        "objects",
        ["created_at"],
        unique=False,
        postgresql_where=sa.text("state = 'planned'"),
    )


def _idempotency() -> None:
    op.create_table(
        "idempotency",
        sa.Column("tenant", sa.Text(), nullable=False),
        sa.Column("key", sa.Text(), nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.Column("fingerprint", sa.LargeBinary(), nullable=False),
        sa.Column("job_id", sa.UUID(), nullable=False),
        sa.PrimaryKeyConstraint("tenant", "key", name=op.f("pk_idempotency")),
    )
    op.create_index("ix_idempotency_created_at", "idempotency", ["created_at"], unique=False)


def _outbox() -> None:
    op.execute("CREATE SEQUENCE outbox_id_seq")
    op.create_table(
        "outbox",
        sa.Column("id", sa.BigInteger(), server_default=sa.text("nextval('outbox_id_seq')"), nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.Column("job_id", sa.UUID(), nullable=False),
        sa.Column("type", sa.Text(), nullable=False),
        sa.Column("data", postgresql.JSONB(astext_type=sa.Text()), nullable=False),
        sa.PrimaryKeyConstraint("id", "created_at", name=op.f("pk_outbox")),
        postgresql_partition_by="RANGE (created_at)",
    )
    op.create_index("ix_outbox_job_id", "outbox", ["job_id", "id"], unique=False)
    # The scheduler makes a partition for each day ahead of time; this one takes what falls between.
    op.execute("CREATE TABLE outbox_default PARTITION OF outbox DEFAULT")
