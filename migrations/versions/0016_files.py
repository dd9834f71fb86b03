"""Files of clients, and batches of requests that are datasets underneath.

Revision ID: 0016
Revises: 0015
"""

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

revision = "0016"
down_revision = "0015"
branch_labels = None
depends_on = None

_TIME = sa.DateTime(timezone=True)


def upgrade() -> None:
    """Two tables, empty."""
    _create_files()
    op.create_table(
        "batches",
        sa.Column("id", postgresql.UUID(as_uuid=True), nullable=False),
        sa.Column("created_at", _TIME, server_default=sa.text("now()"), nullable=False),
        sa.Column("tenant", sa.Text(), nullable=False),
        sa.Column("fingerprint", sa.LargeBinary(), nullable=False, comment="SHA-256 of what was asked"),
        sa.Column("input_file", postgresql.UUID(as_uuid=True), nullable=False),
        sa.Column("endpoint", sa.Text(), nullable=False),
        sa.Column("completion_window", sa.Text(), nullable=False),
        sa.Column("metadata", postgresql.JSONB(), server_default=sa.text("'{}'::jsonb"), nullable=False),
        sa.Column("requests", sa.Integer(), nullable=False, comment="lines of its file"),
        sa.Column("refused", sa.Integer(), nullable=False, comment="of these, that cannot be rendered"),
        sa.Column("single", sa.Boolean(), nullable=False, comment="each request asks for one image"),
        sa.Column(
            "errors",
            postgresql.JSONB(),
            server_default=sa.text("'[]'::jsonb"),
            nullable=False,
            comment="of the whole file",
        ),
        sa.Column(
            "lines", postgresql.UUID(as_uuid=True), nullable=True, comment="the file with a line per request"
        ),
        sa.Column("expires_at", _TIME, nullable=False, comment="what has not ended then is taken back"),
        sa.Column("watched", sa.Boolean(), nullable=False, comment="may have to be taken back yet"),
        sa.Column("cancelled_at", _TIME, nullable=True, comment="when its user took it back"),
        sa.Column("expired_at", _TIME, nullable=True, comment="when its time was over"),
        sa.Column("output_deleted_at", _TIME, nullable=True, comment="when its user deleted the output file"),
        sa.Column("errors_deleted_at", _TIME, nullable=True, comment="when its user deleted the error file"),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_batches")),
    )
    op.create_index("ix_batches_tenant_id", "batches", ["tenant", "id"])
    op.create_index("ix_batches_watched", "batches", ["expires_at"], postgresql_where=sa.text("watched"))


def _create_files() -> None:
    op.create_table(
        "files",
        sa.Column("id", postgresql.UUID(as_uuid=True), nullable=False),
        sa.Column("created_at", _TIME, server_default=sa.text("now()"), nullable=False),
        sa.Column("tenant", sa.Text(), nullable=False),
        sa.Column("purpose", sa.Text(), nullable=False, comment="batch; lines: what is kept of a batch"),
        sa.Column("filename", sa.Text(), nullable=False),
        sa.Column("size", sa.BigInteger(), nullable=False, comment="bytes"),
        sa.Column("stored_at", _TIME, nullable=True, comment="when the object was there; before: planned"),
        sa.Column(
            "expires_at", _TIME, nullable=True, comment="nobody sees it from then on; null: kept for ever"
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_files")),
    )
    op.create_index("ix_files_tenant_id", "files", ["tenant", "id"])
    op.create_index("ix_files_expires_at", "files", ["expires_at"])


def downgrade() -> None:
    """Batches become plain datasets; the objects of files are left over for `jobs verify`."""
    op.drop_table("batches")
    op.drop_table("files")
