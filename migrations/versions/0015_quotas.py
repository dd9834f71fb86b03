"""Quotas of tenants: cost in flight and per day, and storage. Rates of API keys. What workers may delete.

Revision ID: 0015
Revises: 0014
"""

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

revision = "0015"
down_revision = "0014"
branch_labels = None
depends_on = None

_TIME = sa.DateTime(timezone=True)
_FLOAT: sa.types.TypeEngine[float] = postgresql.DOUBLE_PRECISION()


def upgrade() -> None:
    """Nobody has quotas yet, and what the release before accepts counts against none."""
    op.create_table(
        "quotas",
        sa.Column("tenant", sa.Text(), nullable=False),
        sa.Column("max_cost_in_flight", _FLOAT, nullable=True, comment="units of images that are not final"),
        sa.Column("max_cost_per_day", _FLOAT, nullable=True, comment="units accepted in one day of UTC"),
        sa.Column("max_storage_bytes", sa.BigInteger(), nullable=True),
        sa.Column("day", sa.Date(), server_default="1970-01-01", nullable=False, comment="in UTC"),
        sa.Column(
            "cost_today", _FLOAT, server_default="0", nullable=False, comment="units accepted on that day"
        ),
        sa.Column(
            "storage_bytes", sa.BigInteger(), server_default="0", nullable=False, comment="as last counted"
        ),
        sa.Column("counted_at", _TIME, server_default=sa.text("now()"), nullable=False),
        sa.Column("count_due", _TIME, server_default=sa.text("now()"), nullable=False),
        sa.PrimaryKeyConstraint("tenant", name=op.f("pk_quotas")),
    )
    op.add_column(
        "jobs",
        sa.Column(
            "cost", _FLOAT, nullable=True, comment="units accepted; null: its tenant had no quotas then"
        ),
    )
    op.add_column(
        "jobs", sa.Column("most_bytes", sa.BigInteger(), nullable=True, comment="that its images may take")
    )
    op.create_index(
        "ix_jobs_counted",
        "jobs",
        ["tenant"],
        unique=False,
        postgresql_where=sa.text("cost IS NOT NULL AND finished_at IS NULL"),
    )

    # For workers, which may delete no row: of objects only those that were marked, and whose bytes are gone.
    op.execute("""
        CREATE FUNCTION forget_objects(ids bigint[], fences integer[]) RETURNS void
        LANGUAGE sql SECURITY DEFINER SET search_path = pg_catalog, public AS $$
            DELETE FROM objects o USING unnest(ids, fences) AS d(id, fence)
            WHERE o.render_id = d.id AND o.fence = d.fence AND o.state = 'going'
        $$
    """)
    op.execute("REVOKE EXECUTE ON FUNCTION forget_objects(bigint[], integer[]) FROM PUBLIC")
    op.add_column(
        "api_keys",
        sa.Column("rate", sa.Text(), nullable=True, comment="how often it may ask; null: as the farm has it"),
    )


def downgrade() -> None:
    """Quotas and rates are forgotten, and nobody is refused for one."""
    op.drop_column("api_keys", "rate")
    op.execute("DROP FUNCTION forget_objects(bigint[], integer[])")
    op.drop_index("ix_jobs_counted", table_name="jobs")
    op.drop_column("jobs", "most_bytes")
    op.drop_column("jobs", "cost")
    op.drop_table("quotas")
