"""Images that were rendered again with another seed, and how often that was in a shard.

Revision ID: 0011
Revises: 0010
"""

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

revision = "0011"
down_revision = "0010"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Adds what the release before leaves alone."""
    op.create_table(
        "redraws",
        sa.Column("render_id", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.Column(
            "number",
            sa.SmallInteger(),
            autoincrement=False,
            nullable=False,
            comment="1 for the first of a render",
        ),
        sa.Column("created_at", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.Column("seed", sa.BigInteger(), nullable=False, comment="of the image that was found wanting"),
        sa.Column("fence", sa.Integer(), nullable=False, comment="attempts from it on are of the next seed"),
        sa.Column(
            "reasons",
            postgresql.ARRAY(sa.Text()),
            nullable=False,
            comment="dark, uniform, non_finite, duplicate",
        ),
        sa.PrimaryKeyConstraint("render_id", "number", name=op.f("pk_redraws")),
    )
    op.add_column(
        "shards",
        sa.Column(
            "redrawn",
            sa.Integer(),
            server_default="0",
            nullable=False,
            comment="times that an image was rendered again with another seed",
        ),
    )


def downgrade() -> None:
    """Forgets which seeds were tried; renders keep those that they have by now."""
    op.drop_column("shards", "redrawn")
    op.drop_table("redraws")
