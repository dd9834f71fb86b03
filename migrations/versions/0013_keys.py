"""API keys: of each its prefix, the hash of its secret, its tenant, and what it may do.

Revision ID: 0013
Revises: 0012
"""

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

revision = "0013"
down_revision = "0012"
branch_labels = None
depends_on = None

_TIME = sa.DateTime(timezone=True)


def upgrade() -> None:
    """A table of its own, empty: who used the API on loopback without a key goes on to."""
    op.create_table(
        "api_keys",
        sa.Column("prefix", sa.Text(), nullable=False, comment="the visible part, which names the key"),
        sa.Column("created_at", _TIME, server_default=sa.text("now()"), nullable=False),
        sa.Column("tenant", sa.Text(), nullable=False),
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column(
            "digest",
            sa.LargeBinary(),
            nullable=False,
            comment="SHA-256 of the secret, which is kept nowhere",
        ),
        sa.Column(
            "scopes", postgresql.ARRAY(sa.Text()), nullable=False, comment="submit, read, cancel, admin"
        ),
        sa.Column("expires_at", _TIME, nullable=True),
        sa.Column("last_used_at", _TIME, nullable=True, comment="to the minute"),
        sa.Column("revoked_at", _TIME, nullable=True),
        sa.Column(
            "replaced_by", sa.Text(), nullable=True, comment="prefix of the key that it was rotated to"
        ),
        sa.CheckConstraint("octet_length(digest) = 32", name=op.f("ck_api_keys_digest")),
        sa.PrimaryKeyConstraint("prefix", name=op.f("pk_api_keys")),
    )


def downgrade() -> None:
    """Keys are forgotten: whoever had one needs a new one."""
    op.drop_table("api_keys")
