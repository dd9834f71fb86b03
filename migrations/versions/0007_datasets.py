"""Datasets: their spools, their shards, and which shard a render belongs to.

Revision ID: 0007
Revises: 0006
"""

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

revision = "0007"
down_revision = "0006"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """New tables; of renders only those of datasets have a shard."""
    _datasets()
    op.create_table(
        "dataset_parts",
        sa.Column("dataset_id", postgresql.UUID(as_uuid=True), nullable=False),
        sa.Column("number", sa.Integer(), autoincrement=False, nullable=False),
        sa.Column("first", sa.Integer(), nullable=False, comment="ordinal"),
        sa.Column("count", sa.Integer(), nullable=False),
        sa.Column("key", sa.Text(), nullable=False),
        sa.Column("sha256", sa.LargeBinary(), nullable=False),
        sa.Column("size", sa.BigInteger(), nullable=False),
        sa.ForeignKeyConstraint(["dataset_id"], ["datasets.id"], name=op.f("fk_dataset_parts_dataset_id")),
        sa.PrimaryKeyConstraint("dataset_id", "number", name=op.f("pk_dataset_parts")),
    )
    _shards()
    op.add_column(
        "renders",
        sa.Column(
            "shard_id",
            sa.BigInteger(),
            nullable=True,
            comment="that its image is packed in; of a job of kind dataset",
        ),
    )


def _datasets() -> None:
    op.create_table(
        "datasets",
        sa.Column(
            "id", postgresql.UUID(as_uuid=True), nullable=False, comment="the job's too, once there is one"
        ),
        sa.Column("created_at", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.Column("tenant", sa.Text(), nullable=False),
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("phase", sa.Text(), nullable=False, comment="checking, rejected, inserting or inserted"),
        sa.Column(
            "request", postgresql.JSONB(), nullable=False, comment="DatasetRequest, without inline rows"
        ),
        sa.Column("seed", sa.BigInteger(), nullable=False),
        sa.Column("fingerprint", sa.Text(), comment="what makes its pictures, as canonical JSON"),
        sa.Column("digest", sa.LargeBinary(), comment="SHA-256 of all lines of the spool"),
        sa.Column("images", sa.Integer(), server_default="0", nullable=False, comment="that it asks for"),
        sa.Column(
            "inserted", sa.Integer(), server_default="0", nullable=False, comment="that are renders by now"
        ),
        sa.Column(
            "report",
            postgresql.JSONB(),
            server_default=sa.text("'{}'::jsonb"),
            nullable=False,
            comment="of the first pass",
        ),
        sa.Column(
            "published",
            postgresql.JSONB(),
            server_default=sa.text("'{}'::jsonb"),
            nullable=False,
            comment="files at the top",
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_datasets")),
        sa.UniqueConstraint("tenant", "name", name=op.f("uq_datasets_tenant_name")),
    )
    op.create_index(
        "ix_datasets_busy",
        "datasets",
        ["id"],
        unique=False,
        postgresql_where=sa.text("phase IN ('checking', 'inserting')"),
    )


def _shards() -> None:
    op.create_table(
        "shards",
        sa.Column("id", sa.BigInteger(), sa.Identity(), nullable=False),
        sa.Column("dataset_id", postgresql.UUID(as_uuid=True), nullable=False),
        sa.Column(
            "number",
            sa.Integer(),
            nullable=False,
            comment="-1: the files at the top, which count the shards",
        ),
        sa.Column(
            "part", sa.SmallInteger(), nullable=False, comment="0; more for what came after it was sealed"
        ),
        sa.Column("first", sa.Integer(), nullable=False, comment="ordinal from which its renders may be"),
        sa.Column(
            "count", sa.Integer(), nullable=False, comment="renders that belong to it; of the top: shards"
        ),
        sa.Column("remaining", sa.Integer(), nullable=False, comment="of these, not final"),
        sa.Column("failed", sa.Integer(), server_default="0", nullable=False),
        sa.Column("state", sa.Text(), nullable=False, comment="open, full, sealed, failed or cancelled"),
        sa.Column("images", sa.Integer(), server_default="0", nullable=False, comment="that were packed"),
        sa.Column(
            "seconds", sa.REAL(), server_default="0", nullable=False, comment="on devices, for its images"
        ),
        sa.Column(
            "files",
            postgresql.JSONB(),
            server_default=sa.text("'[]'::jsonb"),
            nullable=False,
            comment="path, key, size, sha256",
        ),
        sa.Column("sealed_at", sa.DateTime(timezone=True)),
        sa.ForeignKeyConstraint(["dataset_id"], ["datasets.id"], name=op.f("fk_shards_dataset_id")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_shards")),
        sa.UniqueConstraint("dataset_id", "number", "part", name=op.f("uq_shards_dataset_id_number_part")),
    )


def downgrade() -> None:
    """Datasets are forgotten; their renders stay as those of any job."""
    op.drop_column("renders", "shard_id")
    op.drop_table("shards")
    op.drop_table("dataset_parts")
    op.drop_index("ix_datasets_busy", table_name="datasets")
    op.drop_table("datasets")
