"""Half-done renders that another worker can go on with.

Revision ID: 0004
Revises: 0003
"""

import sqlalchemy as sa
from alembic import op

revision = "0004"
down_revision = "0003"
branch_labels = None
depends_on = None

_STEPS = "taken in this attempt, as far as is known"


def upgrade() -> None:
    """Adds a table: the release before neither writes nor reads it, and renders from the first step."""
    op.create_table(
        "checkpoints",
        sa.Column("render_id", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.Column("fence", sa.Integer(), autoincrement=False, nullable=False),
        sa.Column(
            "step", sa.SmallInteger(), autoincrement=False, nullable=False, comment="steps of the stage done"
        ),
        sa.Column("created_at", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.Column("stage", sa.SmallInteger(), nullable=False),
        sa.Column("taken", sa.SmallInteger(), nullable=False, comment="steps done under this fence"),
        sa.Column("state", sa.Text(), nullable=False, comment="planned or visible"),
        sa.Column("key", sa.Text(), nullable=False),
        sa.Column("sha256", sa.LargeBinary(), nullable=True),
        sa.Column("size", sa.BigInteger(), nullable=True),
        sa.PrimaryKeyConstraint("render_id", "fence", "step", name=op.f("pk_checkpoints")),
    )
    op.alter_column("attempts", "steps", existing_type=sa.SmallInteger(), comment=_STEPS)


def downgrade() -> None:
    """Forgets what is half done: it is rendered from the first step. Its objects stay in the bucket."""
    op.alter_column(
        "attempts", "steps", existing_type=sa.SmallInteger(), comment=None, existing_comment=_STEPS
    )
    op.drop_table("checkpoints")
