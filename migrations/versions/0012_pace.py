"""How fast each queue goes, for what clients are told of their turn and of costs.

Revision ID: 0012
Revises: 0011
"""

import sqlalchemy as sa
from alembic import op

revision = "0012"
down_revision = "0011"
branch_labels = None
depends_on = None

_COLUMNS = {
    "recent_starts": "renders claimed, fading while it has work",
    "recent_worker_s": "seconds of ready workers that serve it, the same",
    "recent_run_s": "seconds that its renders ran, the same",
    "recent_gpu_s": "GPU-seconds that these were charged, the same",
}


def upgrade() -> None:
    """Adds what the release before leaves at 0: nothing is measured then, and nobody is told anything wrong."""
    for name, comment in _COLUMNS.items():
        op.add_column(
            "queues",
            sa.Column(
                name,
                sa.dialects.postgresql.DOUBLE_PRECISION(),
                server_default="0",
                nullable=False,
                comment=comment,
            ),
        )
    # What of one's jobs went wrong, among a million that did not; neither state is ever left but by a repair.
    op.create_index(
        "ix_jobs_unwell",
        "jobs",
        ["tenant", "id"],
        unique=False,
        postgresql_where=sa.text("state IN ('failed', 'cancelled')"),
    )


def downgrade() -> None:
    """Forgets what was measured."""
    op.drop_index("ix_jobs_unwell", table_name="jobs")
    for name in reversed(_COLUMNS):
        op.drop_column("queues", name)
