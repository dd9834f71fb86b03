"""Datasets that were thrown away by their users, how far their rows are gone, and deliveries that go with their jobs.

And how many files a tenant may keep.

Revision ID: 0019
Revises: 0018
"""

import sqlalchemy as sa
from alembic import op

revision = "0019"
down_revision = "0018"
branch_labels = None
depends_on = None

_FILES = "of clients, and uploads, that are kept at once"
_LET_GO = "its job was thrown away: the row goes once it has ended"
_TIME = sa.DateTime(timezone=True)


def upgrade() -> None:
    """Nothing is deleted so far; the release before goes on beside it."""
    deleted = "when its user threw it away; its rows go by and by"
    op.add_column("datasets", sa.Column("deleted_at", _TIME, nullable=True, comment=deleted))
    when = "when rows of it were last deleted, or looked at; once it was thrown away"
    op.add_column("datasets", sa.Column("emptied_at", _TIME, nullable=True, comment=when))
    to = "ordinal up to which its renders were deleted"
    op.add_column("datasets", sa.Column("emptied_to", sa.Integer(), nullable=True, comment=to))
    gone = sa.text("deleted_at IS NOT NULL")
    op.create_index("ix_datasets_deleted", "datasets", ["emptied_at"], postgresql_where=gone)
    op.add_column(
        "deliveries",
        sa.Column("let_go", sa.Boolean(), server_default=sa.text("false"), nullable=False, comment=_LET_GO),
    )
    op.create_index("ix_deliveries_job_id", "deliveries", ["job_id"])
    ended = sa.text("let_go AND state <> 'due'")
    op.create_index("ix_deliveries_let_go", "deliveries", ["id"], postgresql_where=ended)
    op.add_column("quotas", sa.Column("max_files", sa.Integer(), nullable=True, comment=_FILES))
    op.create_index("ix_uploads_tenant", "uploads", ["tenant"])


def downgrade() -> None:
    """What was thrown away is out of reach by its name, and its rows stay."""
    op.drop_index("ix_uploads_tenant", table_name="uploads")
    op.drop_column("quotas", "max_files")
    op.drop_index("ix_deliveries_let_go", table_name="deliveries")
    op.drop_index("ix_deliveries_job_id", table_name="deliveries")
    op.drop_column("deliveries", "let_go")
    op.drop_index("ix_datasets_deleted", table_name="datasets")
    op.drop_column("datasets", "emptied_to")
    op.drop_column("datasets", "emptied_at")
    op.drop_column("datasets", "deleted_at")
