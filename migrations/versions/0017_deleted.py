"""Jobs that were thrown away by their users.

Revision ID: 0017
Revises: 0016
"""

import sqlalchemy as sa
from alembic import op

revision = "0017"
down_revision = "0016"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Nothing is deleted so far; the release before goes on beside it."""
    comment = "when its user threw it away; the record stays"
    op.add_column("jobs", sa.Column("deleted_at", sa.DateTime(timezone=True), nullable=True, comment=comment))


def downgrade() -> None:
    """What was thrown away stays so, and counts as kept for its term."""
    op.drop_column("jobs", "deleted_at")
