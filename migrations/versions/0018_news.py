"""What happened to jobs, for those who want to hear of it: written by workers, who cannot read who that is.

Revision ID: 0018
Revises: 0017
"""

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

revision = "0018"
down_revision = "0017"
branch_labels = None
depends_on = None

_WANTED = """
    CASE WHEN jsonb_array_length({events}) = 0 THEN event <> 'job.running' ELSE {events} ? event END
"""
_HEARD = f"""
    CREATE FUNCTION heard(job uuid, event text) RETURNS boolean
    LANGUAGE plpgsql STABLE SECURITY DEFINER SET search_path = pg_catalog, public AS $$
    BEGIN
        RETURN EXISTS (SELECT FROM jobs j WHERE j.id = job AND (
            (j.webhook IS NOT NULL AND {_WANTED.format(events="j.webhook -> 'events'")})
            OR EXISTS (SELECT FROM webhooks w
                       WHERE w.tenant = j.tenant AND w.url IS NOT NULL AND w.disabled_at IS NULL
                         AND {_WANTED.format(events="to_jsonb(w.events)")})));
    END $$
"""  # noqa: S608 - no input in it
# Nobody is told of what is not so, whoever asks.
_TELL = """
    CREATE FUNCTION tell(job uuid, event text) RETURNS void
    LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, public AS $$
    BEGIN
        INSERT INTO news (job_id, event, tenant, webhook, facts)
        SELECT j.id, tell.event, j.tenant, j.webhook, jsonb_build_object(
            'id', j.id, 'kind', j.kind, 'state', j.state, 'model', j.model, 'lane', j.lane, 'priority', j.priority,
            'seed', j.seed, 'num_images', j.num_images, 'failed', j.failed, 'metadata', j.user_metadata,
            'dataset', d.name, 'created_at', j.created_at, 'started_at', j.started_at, 'finished_at', j.finished_at)
        FROM jobs j LEFT JOIN datasets d ON d.id = j.id WHERE j.id = job AND tell.event = 'job.' || j.state;
        PERFORM pg_notify('latentfarm_deliveries', '');
    END $$
"""
_BOTH = ("heard(uuid, text)", "tell(uuid, text)")


def upgrade() -> None:
    """A table, empty, and two functions that run as their owner."""
    op.create_table(
        "news",
        sa.Column("id", sa.BigInteger(), sa.Identity(always=True), nullable=False),
        sa.Column("job_id", postgresql.UUID(), nullable=False),
        sa.Column("event", sa.Text(), nullable=False, comment="job.succeeded, ..."),
        sa.Column("tenant", sa.Text(), nullable=False),
        sa.Column(
            "webhook",
            postgresql.JSONB(astext_type=sa.Text()),
            nullable=True,
            comment="that the job named itself",
        ),
        sa.Column("at", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.Column(
            "facts",
            postgresql.JSONB(astext_type=sa.Text()),
            nullable=False,
            comment="of the job when it happened; no prompts",
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_news")),
    )
    op.execute(_HEARD)
    op.execute(_TELL)
    for name in _BOTH:
        op.execute(f"REVOKE EXECUTE ON FUNCTION {name} FROM PUBLIC")


def downgrade() -> None:
    """What nobody was told of yet nobody is."""
    for name in _BOTH:
        op.execute(f"DROP FUNCTION {name}")
    op.drop_table("news")
