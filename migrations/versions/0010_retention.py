"""How long results are kept, datasets of which something may be left over in the bucket, and what is drained.

Revision ID: 0010
Revises: 0009
"""

import sqlalchemy as sa
from alembic import op

revision = "0010"
down_revision = "0009"
branch_labels = None
depends_on = None

_TIME = sa.DateTime(timezone=True)


def upgrade() -> None:
    """Adds what the release before leaves at its defaults: it keeps everything for ever."""
    for name, kind, comment in (
        (
            "retain_days",
            sa.dialects.postgresql.DOUBLE_PRECISION(),
            "after the end, for its images and files; null: for ever",
        ),
        ("results_gone_at", _TIME, "since when these are out of reach"),
        ("clear_from", sa.Integer(), "index of the first image that is still to be marked as going"),
    ):
        op.add_column("jobs", sa.Column(name, kind, nullable=True, comment=comment))
    op.create_index(
        "ix_jobs_retain_due",
        "jobs",
        [sa.text("(timezone('UTC', finished_at) + make_interval(secs => 86400 * retain_days))")],
        unique=False,
        postgresql_where=sa.text(
            "retain_days IS NOT NULL AND results_gone_at IS NULL AND finished_at IS NOT NULL"
        ),
    )
    op.create_index(
        "ix_jobs_clear", "jobs", ["id"], unique=False, postgresql_where=sa.text("clear_from IS NOT NULL")
    )
    _datasets()
    _drains()


def downgrade() -> None:
    """Drops it in the other direction. What was kept for a time is kept for ever, and what was drained works again."""
    op.drop_table("drains")
    op.drop_column("queues", "drained_at")
    op.drop_index("ix_datasets_untidy", table_name="datasets")
    for column in ("tidied_to", "untidy_since"):
        op.drop_column("datasets", column)
    for index in ("ix_jobs_clear", "ix_jobs_retain_due"):
        op.drop_index(index, table_name="jobs")
    for column in ("clear_from", "results_gone_at", "retain_days"):
        op.drop_column("jobs", column)


def _datasets() -> None:
    """Every dataset counts as untidy; the first sweeps look at each once."""
    op.add_column(
        "datasets",
        sa.Column(
            "untidy_since",
            _TIME,
            server_default=sa.func.now(),
            nullable=True,
            comment="from then on something may be left over in the bucket; null: nothing is",
        ),
    )
    op.add_column(
        "datasets",
        sa.Column(
            "tidied_to",
            sa.Text(),
            server_default="",
            nullable=False,
            comment="key up to which it was looked at",
        ),
    )
    op.create_index(
        "ix_datasets_untidy",
        "datasets",
        ["untidy_since"],
        unique=False,
        postgresql_where=sa.text("untidy_since IS NOT NULL"),
    )


def _drains() -> None:
    comment = "nothing more is dispatched until it is resumed"
    op.add_column("queues", sa.Column("drained_at", _TIME, nullable=True, comment=comment))
    op.create_table(
        "drains",
        sa.Column("host", sa.Text(), nullable=False),
        sa.Column("device", sa.Text(), nullable=False),
        sa.Column("drained_at", _TIME, server_default=sa.func.now(), nullable=False),
        sa.PrimaryKeyConstraint("host", "device", name=op.f("pk_drains")),
    )
