"""Objects that are about to be deleted are marked first, and jobs whose latents may still lie there.

Revision ID: 0006
Revises: 0005
"""

import sqlalchemy as sa
from alembic import op

revision = "0006"
down_revision = "0005"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Every job counts as one that may have latents; the first sweeps look at each once."""
    op.add_column(
        "jobs",
        sa.Column(
            "latents_kept",
            sa.Boolean(),
            server_default=sa.text("true"),
            nullable=False,
            comment="latents that it has left, or was made from, may lie in the bucket",
        ),
    )
    op.create_index(
        "ix_jobs_latents_due",
        "jobs",
        [sa.text("(timezone('UTC', finished_at) + make_interval(secs => keep_latents))")],
        unique=False,
        postgresql_where=sa.text("latents_kept AND finished_at IS NOT NULL"),
    )
    op.create_index(
        "ix_objects_going",
        "objects",
        ["render_id", "fence"],
        unique=False,
        postgresql_where=sa.text("state = 'going'"),
    )
    op.alter_column("objects", "state", comment="planned, visible or going")


def downgrade() -> None:
    """What is going was planned or visible, and nobody may see it again: it counts as planned."""
    op.execute("UPDATE objects SET state = 'planned' WHERE state = 'going'")
    op.alter_column("objects", "state", comment="planned or visible")
    op.drop_index("ix_objects_going", table_name="objects")
    op.drop_index("ix_jobs_latents_due", table_name="jobs")
    op.drop_column("jobs", "latents_kept")
