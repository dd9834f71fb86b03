"""Webhooks of tenants and of jobs, and what is to be sent to them.

Revision ID: 0014
Revises: 0013
"""

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

revision = "0014"
down_revision = "0013"
branch_labels = None
depends_on = None

_TIME = sa.DateTime(timezone=True)


def upgrade() -> None:
    """Two tables, empty, and a column that is null for all jobs of before: nobody is told of these."""
    op.add_column(
        "jobs",
        sa.Column(
            "webhook",
            postgresql.JSONB(astext_type=sa.Text()),
            nullable=True,
            comment="url, events and format that it named itself",
        ),
    )
    _webhooks()
    _deliveries()


def downgrade() -> None:
    """What was not delivered never is."""
    op.drop_table("deliveries")
    op.drop_table("webhooks")
    op.drop_column("jobs", "webhook")


def _webhooks() -> None:
    op.create_table(
        "webhooks",
        sa.Column("id", sa.UUID(), nullable=False),
        sa.Column("created_at", _TIME, server_default=sa.text("now()"), nullable=False),
        sa.Column("tenant", sa.Text(), nullable=False),
        sa.Column(
            "url",
            sa.Text(),
            nullable=True,
            comment="null: the default of its tenant, which signs what goes to URLs of jobs",
        ),
        sa.Column(
            "events",
            postgresql.ARRAY(sa.Text()),
            server_default=sa.text("'{}'"),
            nullable=False,
            comment="empty: ends of jobs",
        ),
        sa.Column("format", sa.Text(), server_default="native", nullable=False),
        sa.Column("secret", sa.Text(), nullable=False, comment="whsec_...; needed whole, since it signs"),
        sa.Column(
            "old_secret",
            sa.Text(),
            nullable=True,
            comment="that it was rotated from; signs too until old_until",
        ),
        sa.Column("old_until", _TIME, nullable=True),
        sa.Column(
            "failing_since", _TIME, nullable=True, comment="the first try that failed since one was taken"
        ),
        sa.Column("disabled_at", _TIME, nullable=True),
        sa.Column("disabled_reason", sa.Text(), nullable=True, comment="asked, gone or failing"),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_webhooks")),
    )
    op.create_index("ix_webhooks_tenant", "webhooks", ["tenant", "id"])
    op.create_index(
        "ix_webhooks_heeded",
        "webhooks",
        ["tenant", "id"],
        postgresql_where=sa.text("url IS NOT NULL AND disabled_at IS NULL"),
    )


def _deliveries() -> None:
    op.create_table(
        "deliveries",
        sa.Column("id", sa.UUID(), nullable=False),
        sa.Column("created_at", _TIME, server_default=sa.text("now()"), nullable=False),
        sa.Column("tenant", sa.Text(), nullable=False),
        sa.Column("webhook_id", sa.UUID(), nullable=False, comment="whose secret signs"),
        sa.Column("job_id", sa.UUID(), nullable=False),
        sa.Column("event", sa.Text(), nullable=False, comment="job.succeeded, ..."),
        sa.Column("type", sa.Text(), nullable=False, comment="what its format calls the event"),
        sa.Column("format", sa.Text(), nullable=False),
        sa.Column("url", sa.Text(), nullable=True, comment="that the job named; null: the webhook's"),
        sa.Column(
            "target", sa.Text(), nullable=False, comment="webhook or host: tries at it at once are bounded"
        ),
        sa.Column(
            "facts",
            postgresql.JSONB(astext_type=sa.Text()),
            nullable=False,
            comment="of the job when it happened; no prompts",
        ),
        sa.Column(
            "state", sa.Text(), server_default="due", nullable=False, comment="due, delivered or failed"
        ),
        sa.Column("due_at", _TIME, server_default=sa.text("now()"), nullable=False),
        sa.Column("claims", sa.Integer(), server_default="0", nullable=False, comment="the fence of a try"),
        sa.Column(
            "tries",
            sa.SmallInteger(),
            server_default="0",
            nullable=False,
            comment="that failed since the last replay",
        ),
        _log(),
        sa.Column("ended_at", _TIME, nullable=True),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_deliveries")),
    )
    op.create_index("ix_deliveries_created_at", "deliveries", ["created_at"])
    op.create_index("ix_deliveries_webhook", "deliveries", ["webhook_id", "id"])
    op.create_index(
        "ix_deliveries_due",
        "deliveries",
        ["tenant", "target", "due_at"],
        postgresql_where=sa.text("state = 'due'"),
    )


def _log() -> sa.Column[object]:
    return sa.Column(
        "log",
        postgresql.JSONB(astext_type=sa.Text()),
        server_default=sa.text("'[]'::jsonb"),
        nullable=False,
        comment="the last tries: at, status, error, ms",
    )
