"""Tenants and how they stand; which jobs wait, and the order of renders within a job.

Revision ID: 0008
Revises: 0007
"""

import sqlalchemy as sa
from alembic import op

revision = "0008"
down_revision = "0007"
branch_labels = None
depends_on = None

_TIME = sa.DateTime(timezone=True)


def upgrade() -> None:
    """Adds what the release before leaves at its defaults; the scheduler names the models of jobs that come so."""
    _tenants()
    op.create_table(
        "meters",
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("read_at", _TIME, nullable=False, comment="charged up to here"),
        sa.PrimaryKeyConstraint("name", name=op.f("pk_meters")),
    )
    comment = "GPU-seconds that the lane is owed by the other one of its stage and model"
    op.add_column("queues", _amount("deficit_s", "0", comment))
    _jobs()
    op.create_index(
        "ix_renders_waiting",
        "renders",
        ["queue_id", sa.text("uuid_hash(job_id)"), "ordinal", "due_at"],
        unique=False,
        postgresql_where=sa.text("state = 0"),
    )
    op.create_index(
        "ix_renders_latents",
        "renders",
        ["queue_id"],
        unique=False,
        postgresql_where=sa.text("state = 0 AND stage = 1 AND fence > 0"),
    )
    op.drop_index("ix_renders_due", table_name="renders")


def downgrade() -> None:
    """Brings the order of a queue back, and drops the rest in the other direction."""
    op.create_index(
        "ix_renders_due",
        "renders",
        ["queue_id", sa.literal_column("priority DESC"), "due_at", "id"],
        unique=False,
        postgresql_where=sa.text("state = 0"),
    )
    op.drop_index("ix_renders_latents", table_name="renders")
    op.drop_index("ix_renders_waiting", table_name="renders")
    op.drop_index("ix_jobs_waiting", table_name="jobs")
    for column in ("start_after", "paused_at", "picked_at", "waits", "model"):
        op.drop_column("jobs", column)
    op.drop_column("queues", "deficit_s")
    op.drop_table("meters")
    op.drop_table("tenants")


def _amount(name: str, default: str, comment: str) -> sa.Column[object]:
    return sa.Column(
        name,
        sa.dialects.postgresql.DOUBLE_PRECISION(),
        server_default=default,
        nullable=False,
        comment=comment,
    )


def _tenants() -> None:
    in_flight = "renders dispatched or running that are not charged yet"
    op.create_table(
        "tenants",
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("created_at", _TIME, server_default=sa.text("now()"), nullable=False),
        _amount("weight", "1", "part of the farm against the other tenants that wait"),
        _amount("deficit_s", "0", "GPU-seconds that it is owed; negative: had too many"),
        _amount("used_s", "0", "GPU-seconds that it has had in all"),
        _amount("recent_s", "0", "the same, fading"),
        _amount("recent_starts", "0", "renders started, fading: recent_s by this is what one costs"),
        sa.Column("in_flight", sa.Integer(), server_default="0", nullable=False, comment=in_flight),
        sa.Column("max_in_flight", sa.Integer(), nullable=True, comment="most of these at once"),
        sa.Column(
            "max_queued",
            sa.Integer(),
            nullable=True,
            comment="most renders that may wait; further jobs are refused",
        ),
        sa.Column(
            "paused_at", _TIME, nullable=True, comment="nothing of it is dispatched until it is resumed"
        ),
        sa.CheckConstraint("weight > 0", name=op.f("ck_tenants_weight")),
        sa.PrimaryKeyConstraint("name", name=op.f("pk_tenants")),
    )


def _jobs() -> None:
    op.add_column("jobs", sa.Column("model", sa.Text(), server_default="", nullable=False))
    # Those that have ended wait for nothing, and there may be millions of them.
    op.execute(
        "UPDATE jobs j SET model = s.body ->> 'model' FROM specs s WHERE s.id = j.spec_id AND j.finished_at IS NULL"
    )
    op.add_column(
        "jobs", sa.Column("waits", sa.Boolean(), sa.Computed("queued > 0", persisted=True), nullable=False)
    )
    for name, comment in (
        ("picked_at", "when renders of it were last dispatched by a pick"),
        ("paused_at", "nothing more is dispatched until it is resumed"),
        ("start_after", "nothing is dispatched before"),
    ):
        op.add_column("jobs", sa.Column(name, _TIME, nullable=True, comment=comment))
    op.create_index(
        "ix_jobs_waiting",
        "jobs",
        ["model", "lane", "tenant", "priority", "id"],
        unique=False,
        postgresql_where=sa.text("waits AND paused_at IS NULL"),
    )
