"""What a job was refined from, and pictures that are kept where a render left them.

Revision ID: 0003
Revises: 0002
"""

import sqlalchemy as sa
from alembic import op

revision = "0003"
down_revision = "0002"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Adds what may be absent: the release before writes none of it, but its scheduler deletes what it does not know."""
    op.add_column("jobs", sa.Column("source_job_id", sa.UUID(), nullable=True, comment="of kind refine"))
    op.add_column("jobs", sa.Column("source", sa.Text(), nullable=True, comment="latents or image"))
    op.add_column(
        "inputs",
        sa.Column("key", sa.Text(), nullable=True, comment="where it lies, when a render left it there"),
    )
    op.create_table(
        "render_sources",
        sa.Column("render_id", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.Column("source_index", sa.Integer(), nullable=False, comment="of the image in the source job"),
        sa.Column("object_render", sa.BigInteger(), nullable=False),
        sa.Column("object_fence", sa.Integer(), nullable=False),
        sa.PrimaryKeyConstraint("render_id", name=op.f("pk_render_sources")),
    )
    op.create_index(
        "ix_render_sources_object", "render_sources", ["object_render", "object_fence"], unique=False
    )


def downgrade() -> None:
    """Drops it in the other direction; jobs of kind refine must have ended before."""
    op.drop_table("render_sources")
    op.drop_column("inputs", "key")
    for column in ("source", "source_job_id"):
        op.drop_column("jobs", column)
