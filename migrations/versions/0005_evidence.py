"""Who was charged for what, where, and which devices rest.

Revision ID: 0005
Revises: 0004
"""

import sqlalchemy as sa
from alembic import op

revision = "0005"
down_revision = "0004"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Adds what the release before leaves at its defaults: it charges nobody's attempts, and sends nobody to rest."""
    for column, comment in (
        ("charged", "it counted against the render"),
        ("refunded", "the device was to blame"),
    ):
        op.add_column(
            "attempts",
            sa.Column(column, sa.Boolean(), nullable=False, server_default=sa.false(), comment=comment),
        )
    op.add_column(
        "attempts",
        sa.Column(
            "refused_at",
            sa.DateTime(timezone=True),
            nullable=True,
            comment="when its device was first refused the render again",
        ),
    )
    op.create_index("ix_attempts_worker", "attempts", ["worker_id", "started_at"], unique=False)
    op.add_column(
        "workers",
        sa.Column(
            "rest_until",
            sa.DateTime(timezone=True),
            nullable=True,
            comment="no further incarnation of this device before",
        ),
    )
    op.create_index("ix_workers_device", "workers", ["host", "device", "id"], unique=False)
    op.create_index(
        "ix_workers_rest",
        "workers",
        ["rest_until"],
        unique=False,
        postgresql_where=sa.text("rest_until IS NOT NULL"),
    )


def downgrade() -> None:
    """Drops it in the other direction."""
    for index, table in (
        ("ix_workers_rest", "workers"),
        ("ix_workers_device", "workers"),
        ("ix_attempts_worker", "attempts"),
    ):
        op.drop_index(index, table_name=table)
    op.drop_column("workers", "rest_until")
    for column in ("refused_at", "refunded", "charged"):
        op.drop_column("attempts", column)
