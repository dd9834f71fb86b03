"""Uploads, inputs, and which jobs use them.

Revision ID: 0002
Revises: 0001
"""

import sqlalchemy as sa
from alembic import op

revision = "0002"
down_revision = "0001"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Makes the tables; the release before knows nothing of them and needs nothing."""
    _uploads()
    _inputs()
    op.create_table(
        "job_inputs",
        sa.Column("sha256", sa.LargeBinary(), nullable=False),
        sa.Column("job_id", sa.UUID(), nullable=False),
        sa.ForeignKeyConstraint(["job_id"], ["jobs.id"], name=op.f("fk_job_inputs_job_id")),
        sa.ForeignKeyConstraint(
            ["sha256"], ["inputs.sha256"], name=op.f("fk_job_inputs_sha256"), ondelete="CASCADE"
        ),
        sa.PrimaryKeyConstraint("sha256", "job_id", name=op.f("pk_job_inputs")),
    )


def downgrade() -> None:
    """Drops them in the other direction."""
    for table in ("job_inputs", "inputs", "uploads"):
        op.drop_table(table)


def _uploads() -> None:
    op.create_table(
        "uploads",
        sa.Column("id", sa.UUID(), nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.Column("tenant", sa.Text(), nullable=False),
        sa.Column("size", sa.Integer(), nullable=False, comment="bytes that the link takes"),
        sa.Column("expires_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column(
            "used_as",
            sa.LargeBinary(),
            nullable=True,
            comment="SHA-256 of what it was when a job first used it",
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_uploads")),
    )
    op.create_index("ix_uploads_expires_at", "uploads", ["expires_at"], unique=False)


def _inputs() -> None:
    op.create_table(
        "inputs",
        sa.Column("sha256", sa.LargeBinary(), nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.Column("size", sa.Integer(), nullable=False, comment="bytes"),
        sa.Column("width", sa.Integer(), nullable=False, comment="upright, as the EXIF says"),
        sa.Column("height", sa.Integer(), nullable=False),
        sa.Column("format", sa.Text(), nullable=False, comment="png, jpeg or webp"),
        sa.Column(
            "stored_at",
            sa.DateTime(timezone=True),
            nullable=True,
            comment="when the object was there; before: planned",
        ),
        sa.Column("last_used", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.PrimaryKeyConstraint("sha256", name=op.f("pk_inputs")),
    )
    op.create_index("ix_inputs_last_used", "inputs", ["last_used"], unique=False)
