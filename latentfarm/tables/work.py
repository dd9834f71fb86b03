"""Jobs, their renders, and who works on them."""

from sqlalchemy import (
    REAL,
    BigInteger,
    Boolean,
    Column,
    Computed,
    DateTime,
    ForeignKey,
    Identity,
    Index,
    Integer,
    LargeBinary,
    SmallInteger,
    Table,
    Text,
    UniqueConstraint,
    func,
    text,
)
from sqlalchemy.dialects.postgresql import ARRAY, DOUBLE_PRECISION, JSONB, UUID

from latentfarm.tables.naming import created_at, metadata

specs = Table(
    "specs",
    metadata,
    Column("id", BigInteger, Identity(), primary_key=True),
    Column("digest", LargeBinary, nullable=False, unique=True, comment="SHA-256 of the canonical JSON"),
    Column("body", JSONB, nullable=False, comment="RenderSpec.picture()"),
)


def _recent(name: str, comment: str) -> Column[object]:
    return Column(name, DOUBLE_PRECISION, nullable=False, server_default="0", comment=comment)


queues = Table(
    "queues",
    metadata,
    Column("id", Integer, Identity(), primary_key=True),
    Column("name", Text, nullable=False, unique=True),
    Column("stage", SmallInteger, nullable=False),
    Column("model", Text, nullable=False),
    Column("lane", Text, nullable=False),
    Column(
        "deficit_s",
        DOUBLE_PRECISION,
        nullable=False,
        server_default="0",
        comment="GPU-seconds that the lane is owed by the other one of its stage and model",
    ),
    Column(
        "wait_s", REAL, nullable=False, server_default="0", comment="measured seconds from message to claim"
    ),
    Column("drained_at", DateTime(timezone=True), comment="nothing more is dispatched until it is resumed"),
    # Of the seconds in which it had work, the last ones counting most.
    _recent("recent_starts", "renders claimed, fading while it has work"),
    _recent("recent_worker_s", "seconds of ready workers that serve it, the same"),
    _recent("recent_run_s", "seconds that its renders ran, the same"),
    _recent("recent_gpu_s", "GPU-seconds that these were charged, the same"),
)

jobs = Table(
    "jobs",
    metadata,
    Column("id", UUID(as_uuid=True), primary_key=True),
    created_at(),
    Column("tenant", Text, nullable=False, server_default=""),
    Column("kind", Text, nullable=False),
    Column("spec_id", ForeignKey("specs.id"), nullable=False),
    Column("lane", Text, nullable=False),
    Column("priority", SmallInteger, nullable=False),
    Column("state", Text, nullable=False),
    Column("seed", BigInteger, nullable=False),
    Column("num_images", Integer, nullable=False),
    Column("remaining", Integer, nullable=False, comment="renders that are not final"),
    Column("queued", Integer, nullable=False, comment="renders in state queued"),
    Column("failed", Integer, nullable=False, server_default="0"),
    Column("keep_latents", Integer, nullable=False, comment="seconds after the end"),
    Column("user_metadata", JSONB, nullable=False, server_default=text("'{}'::jsonb")),
    Column("started_at", DateTime(timezone=True)),
    Column("finished_at", DateTime(timezone=True)),
    Column("cancelled_at", DateTime(timezone=True)),
    Column("webhook", JSONB(none_as_null=True), comment="url, events and format that it named itself"),
    Column("source_job_id", UUID(as_uuid=True), comment="of kind refine"),
    Column("source", Text, comment="latents or image"),
    Column("model", Text, nullable=False, server_default=""),
    # Computed, so that whoever changes the count need not think of it. `queued` itself is in no index: then a pick
    # would have to write every index of the table.
    Column("waits", Boolean, Computed("queued > 0", persisted=True), nullable=False),
    Column("picked_at", DateTime(timezone=True), comment="when renders of it were last dispatched by a pick"),
    Column("paused_at", DateTime(timezone=True), comment="nothing more is dispatched until it is resumed"),
    Column("start_after", DateTime(timezone=True), comment="nothing is dispatched before"),
    Column(
        "latents_kept",
        Boolean,
        nullable=False,
        server_default=text("true"),
        comment="latents that it has left, or was made from, may lie in the bucket",
    ),
    Column(
        "retain_days", DOUBLE_PRECISION, comment="after the end, for its images and files; null: for ever"
    ),
    Column("results_gone_at", DateTime(timezone=True), comment="since when these are out of reach"),
    Column("clear_from", Integer, comment="index of the first image that is still to be marked as going"),
    Column("cost", DOUBLE_PRECISION, comment="units accepted; null: its tenant had no quotas then"),
    Column("most_bytes", BigInteger, comment="that its images may take"),
    Column("deleted_at", DateTime(timezone=True), comment="when its user threw it away; the record stays"),
    Index("ix_jobs_tenant_id", "tenant", "id"),
    Index("ix_jobs_open", "id", postgresql_where=text("finished_at IS NULL")),
    Index("ix_jobs_finished_at", "finished_at"),
    # What of one's jobs went wrong, among a million that did not.
    Index("ix_jobs_unwell", "tenant", "id", postgresql_where=text("state IN ('failed', 'cancelled')")),
    # Whose turn it is. Only jobs with something queued are in it, however many have ended.
    Index(
        "ix_jobs_waiting",
        "model",
        "lane",
        "tenant",
        "priority",
        "id",
        postgresql_where=text("waits AND paused_at IS NULL"),
    ),
    # When their latents may go. Only jobs that may have some are in it, however many have ended.
    Index(
        "ix_jobs_latents_due",
        text("(timezone('UTC', finished_at) + make_interval(secs => keep_latents))"),
        postgresql_where=text("latents_kept AND finished_at IS NOT NULL"),
    ),
    # When their images may go. Jobs that are kept for ever are not in it, nor those whose images are gone.
    Index(
        "ix_jobs_retain_due",
        text("(timezone('UTC', finished_at) + make_interval(secs => 86400 * retain_days))"),
        postgresql_where=text(
            "retain_days IS NOT NULL AND results_gone_at IS NULL AND finished_at IS NOT NULL"
        ),
    ),
    # What counts against the quotas of a tenant. Jobs of tenants that have none are not in it.
    Index("ix_jobs_counted", "tenant", postgresql_where=text("cost IS NOT NULL AND finished_at IS NULL")),
    Index("ix_jobs_clear", "id", postgresql_where=text("clear_from IS NOT NULL")),
)

renders = Table(
    "renders",
    metadata,
    Column("id", BigInteger, Identity(), primary_key=True),
    Column("job_id", UUID(as_uuid=True), ForeignKey("jobs.id"), nullable=False),
    Column("spec_id", BigInteger, nullable=False),
    Column("seed", BigInteger, nullable=False),
    Column("ordinal", Integer, nullable=False, comment="index of the image in its job"),
    Column("queue_id", Integer, nullable=False),
    Column("fence", Integer, nullable=False, server_default="0"),
    Column("state", SmallInteger, nullable=False, server_default="0"),
    Column("stage", SmallInteger, nullable=False),
    Column("priority", SmallInteger, nullable=False, server_default="0"),
    Column(
        "tries", SmallInteger, nullable=False, server_default="0", comment="charged failures in this stage"
    ),
    Column("starts", SmallInteger, nullable=False, server_default="0", comment="claims in all"),
    Column("sends", SmallInteger, nullable=False, server_default="0", comment="messages since dispatched"),
    Column("suspect", Boolean, nullable=False, server_default=text("false")),
    Column("owner", BigInteger, comment="the incarnation that runs it"),
    Column("due_at", DateTime(timezone=True), nullable=False, server_default=func.now()),
    Column("sent_at", DateTime(timezone=True)),
    Column("shard_id", BigInteger, comment="that its image is packed in; of a job of kind dataset"),
    UniqueConstraint("job_id", "ordinal"),
    # What a job has in a queue, in order. Only queued renders are in it, however many are finished. By a hash of the
    # job: asked for the id itself, the planner may take the unique index, and read all that a large job has finished.
    Index(
        "ix_renders_waiting",
        "queue_id",
        text("uuid_hash(job_id)"),
        "ordinal",
        "due_at",
        postgresql_where=text("state = 0"),
    ),
    # What the base stage has left for the refiner.
    Index("ix_renders_latents", "queue_id", postgresql_where=text("state = 0 AND stage = 1 AND fence > 0")),
    Index("ix_renders_dispatched", "queue_id", "sent_at", postgresql_where=text("state = 1")),
    Index("ix_renders_running", "owner", postgresql_where=text("state = 2")),
    postgresql_with={
        "fillfactor": "70",
        "autovacuum_vacuum_scale_factor": "0.02",
        "autovacuum_vacuum_threshold": "1000",
        "autovacuum_vacuum_cost_delay": "0",
    },
)

workers = Table(
    "workers",
    metadata,
    Column("id", BigInteger, Identity(), primary_key=True, comment="one incarnation"),
    created_at(),
    Column("host", Text, nullable=False),
    Column("pid", Integer, nullable=False),
    Column("device", Text, nullable=False),
    Column("stages", ARRAY(SmallInteger), nullable=False),
    Column(
        "models", ARRAY(Text), nullable=False, server_default=text("'{}'"), comment="that it may be assigned"
    ),
    Column(
        "models_held",
        Integer,
        nullable=False,
        server_default="0",
        comment="of these at once; 0: all, and nobody assigns them",
    ),
    Column("assigned_models", ARRAY(Text), nullable=False, comment="that it is to hold"),
    Column(
        "loaded_models",
        ARRAY(Text),
        nullable=False,
        server_default=text("'{}'"),
        comment="that it holds, or held",
    ),
    Column("lease_until", DateTime(timezone=True), nullable=False),
    Column(
        "ready",
        Boolean,
        nullable=False,
        server_default=text("false"),
        comment="warm, with what it was assigned",
    ),
    Column("ready_at", DateTime(timezone=True)),
    Column("info", JSONB, nullable=False, server_default=text("'{}'::jsonb")),
    Column("ended_at", DateTime(timezone=True)),
    Column("end_reason", Text),
    Column("rest_until", DateTime(timezone=True), comment="no further incarnation of this device before"),
    Index("ix_workers_device", "host", "device", "id"),
    Index("ix_workers_rest", "rest_until", postgresql_where=text("rest_until IS NOT NULL")),
    Index("ix_workers_live", "lease_until", postgresql_where=text("ended_at IS NULL")),
)

#: Devices that get nothing new until they are resumed, whoever serves them.
drains = Table(
    "drains",
    metadata,
    Column("host", Text, primary_key=True),
    Column("device", Text, primary_key=True),
    Column("drained_at", DateTime(timezone=True), nullable=False, server_default=func.now()),
)

attempts = Table(
    "attempts",
    metadata,
    Column("render_id", BigInteger, primary_key=True),
    Column("fence", Integer, primary_key=True),
    Column("stage", SmallInteger, nullable=False),
    Column("queue_id", Integer, nullable=False),
    Column("worker_id", BigInteger, nullable=False),
    Column("started_at", DateTime(timezone=True), nullable=False, server_default=func.now()),
    Column("waited_s", REAL, nullable=False, comment="from the last message to the claim"),
    Column("ended_at", DateTime(timezone=True)),
    Column("steps", SmallInteger, comment="taken in this attempt, as far as is known"),
    Column("outcome", Text),
    Column("error_class", Text),
    Column("message", Text),
    Column(
        "charged",
        Boolean,
        nullable=False,
        server_default=text("false"),
        comment="it counted against the render",
    ),
    Column(
        "refunded", Boolean, nullable=False, server_default=text("false"), comment="the device was to blame"
    ),
    Column(
        "refused_at", DateTime(timezone=True), comment="when its device was first refused the render again"
    ),
    Index("ix_attempts_started_at", "started_at"),
    # Not by the end: closing an attempt would then have to write every index of the table.
    Index("ix_attempts_worker", "worker_id", "started_at"),
)
