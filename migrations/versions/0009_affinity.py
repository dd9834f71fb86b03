"""Workers hold some of the models that they may serve.

Revision ID: 0009
Revises: 0008
"""

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

revision = "0009"
down_revision = "0008"
branch_labels = None
depends_on = None

_ASSIGNED, _READY = "that it is to hold", "warm, with what it was assigned"


def upgrade() -> None:
    """Adds what workers of the release before leave at its defaults: nobody assigns them models."""
    op.add_column("workers", _models("models", "that it may be assigned"))
    op.add_column(
        "workers",
        sa.Column(
            "models_held",
            sa.Integer(),
            server_default="0",
            nullable=False,
            comment="of these at once; 0: all, and nobody assigns them",
        ),
    )
    op.add_column("workers", _models("loaded_models", "that it holds, or held"))
    op.add_column("workers", sa.Column("ready_at", sa.DateTime(timezone=True), nullable=True))
    op.alter_column("workers", "assigned_models", comment=_ASSIGNED)
    op.alter_column("workers", "ready", comment=_READY)


def downgrade() -> None:
    """Drops it again."""
    op.alter_column("workers", "ready", comment=None, existing_comment=_READY)
    op.alter_column("workers", "assigned_models", comment=None, existing_comment=_ASSIGNED)
    for column in ("ready_at", "loaded_models", "models_held", "models"):
        op.drop_column("workers", column)


def _models(name: str, comment: str) -> sa.Column[object]:
    return sa.Column(
        name, postgresql.ARRAY(sa.Text()), server_default=sa.text("'{}'"), nullable=False, comment=comment
    )
