"""The rows of the farm, as SQLAlchemy tables. `migrations/` makes them; a test compares both.

`renders` is the table that is rewritten all the time: it is narrow, holds no text, keeps free space
in its pages, and its indexes cover live states only, so its cost does not grow with what is finished.
"""

from sqlalchemy import (
    REAL,
    BigInteger,
    Boolean,
    Column,
    DateTime,
    ForeignKey,
    Identity,
    Index,
    Integer,
    LargeBinary,
    MetaData,
    Sequence,
    SmallInteger,
    Table,
    Text,
    UniqueConstraint,
    func,
    text,
)
from sqlalchemy.dialects.postgresql import ARRAY, JSONB, UUID

metadata = MetaData(
    naming_convention={
        "ix": "ix_%(table_name)s_%(column_0_N_name)s",
        "uq": "uq_%(table_name)s_%(column_0_N_name)s",
        "fk": "fk_%(table_name)s_%(column_0_N_name)s",
        "pk": "pk_%(table_name)s",
    }
)


def _now() -> Column[object]:
    return Column("created_at", DateTime(timezone=True), nullable=False, server_default=func.now())


specs = Table(
    "specs",
    metadata,
    Column("id", BigInteger, Identity(), primary_key=True),
    Column("digest", LargeBinary, nullable=False, unique=True, comment="SHA-256 of the canonical JSON"),
    Column("body", JSONB, nullable=False, comment="RenderSpec.picture()"),
)

queues = Table(
    "queues",
    metadata,
    Column("id", Integer, Identity(), primary_key=True),
    Column("name", Text, nullable=False, unique=True),
    Column("stage", SmallInteger, nullable=False),
    Column("model", Text, nullable=False),
    Column("lane", Text, nullable=False),
    Column(
        "wait_s", REAL, nullable=False, server_default="0", comment="measured seconds from message to claim"
    ),
)

jobs = Table(
    "jobs",
    metadata,
    Column("id", UUID(as_uuid=True), primary_key=True),
    _now(),
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
    Column("source_job_id", UUID(as_uuid=True), comment="of kind refine"),
    Column("source", Text, comment="latents or image"),
    Column(
        "latents_kept",
        Boolean,
        nullable=False,
        server_default=text("true"),
        comment="latents that it has left, or was made from, may lie in the bucket",
    ),
    Index("ix_jobs_tenant_id", "tenant", "id"),
    Index("ix_jobs_open", "id", postgresql_where=text("finished_at IS NULL")),
    Index("ix_jobs_finished_at", "finished_at"),
    # When their latents may go. Only jobs that may have some are in it, however many have ended.
    Index(
        "ix_jobs_latents_due",
        text("(timezone('UTC', finished_at) + make_interval(secs => keep_latents))"),
        postgresql_where=text("latents_kept AND finished_at IS NOT NULL"),
    ),
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
    UniqueConstraint("job_id", "ordinal"),
    # Order of the queue. Only queued renders are in it, however many are finished.
    Index(
        "ix_renders_due",
        "queue_id",
        text("priority DESC"),
        "due_at",
        "id",
        postgresql_where=text("state = 0"),
    ),
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
    _now(),
    Column("host", Text, nullable=False),
    Column("pid", Integer, nullable=False),
    Column("device", Text, nullable=False),
    Column("stages", ARRAY(SmallInteger), nullable=False),
    Column("assigned_models", ARRAY(Text), nullable=False),
    Column("lease_until", DateTime(timezone=True), nullable=False),
    Column("ready", Boolean, nullable=False, server_default=text("false")),
    Column("info", JSONB, nullable=False, server_default=text("'{}'::jsonb")),
    Column("ended_at", DateTime(timezone=True)),
    Column("end_reason", Text),
    Column("rest_until", DateTime(timezone=True), comment="no further incarnation of this device before"),
    Index("ix_workers_device", "host", "device", "id"),
    Index("ix_workers_rest", "rest_until", postgresql_where=text("rest_until IS NOT NULL")),
    Index("ix_workers_live", "lease_until", postgresql_where=text("ended_at IS NULL")),
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

objects = Table(
    "objects",
    metadata,
    Column("render_id", BigInteger, primary_key=True),
    Column("fence", Integer, primary_key=True),
    _now(),
    Column("kind", Text, nullable=False, comment="latents or image"),
    Column("state", Text, nullable=False, comment="planned, visible or going"),
    Column("key", Text, nullable=False),
    Column("sha256", LargeBinary),
    Column("size", BigInteger),
    Column("notes", JSONB, nullable=False, server_default=text("'{}'::jsonb")),
    Index("ix_objects_planned", "created_at", postgresql_where=text("state = 'planned'")),
    Index("ix_objects_going", "render_id", "fence", postgresql_where=text("state = 'going'")),
    Index("ix_objects_latents", "render_id", postgresql_where=text("kind = 'latents'")),
)

#: Half-done renders: at most a few rows for each one that runs, and none for those that are final.
checkpoints = Table(
    "checkpoints",
    metadata,
    Column("render_id", BigInteger, primary_key=True, autoincrement=False),
    Column("fence", Integer, primary_key=True, autoincrement=False),
    Column("step", SmallInteger, primary_key=True, autoincrement=False, comment="steps of the stage done"),
    _now(),
    Column("stage", SmallInteger, nullable=False),
    Column("taken", SmallInteger, nullable=False, comment="steps done under this fence"),
    Column("state", Text, nullable=False, comment="planned or visible"),
    Column("key", Text, nullable=False),
    Column("sha256", LargeBinary),
    Column("size", BigInteger),
)

#: What renders of kind refine are made from. Latents are kept while such a render needs them.
render_sources = Table(
    "render_sources",
    metadata,
    Column("render_id", BigInteger, primary_key=True, autoincrement=False),
    Column("source_index", Integer, nullable=False, comment="of the image in the source job"),
    Column("object_render", BigInteger, nullable=False),
    Column("object_fence", Integer, nullable=False),
    Index("ix_render_sources_object", "object_render", "object_fence"),
)

idempotency = Table(
    "idempotency",
    metadata,
    Column("tenant", Text, primary_key=True),
    Column("key", Text, primary_key=True),
    _now(),
    Column("fingerprint", LargeBinary, nullable=False),
    Column("job_id", UUID(as_uuid=True), nullable=False),
    Index("ix_idempotency_created_at", "created_at"),
)

uploads = Table(
    "uploads",
    metadata,
    Column("id", UUID(as_uuid=True), primary_key=True),
    _now(),
    Column("tenant", Text, nullable=False),
    Column("size", Integer, nullable=False, comment="bytes that the link takes"),
    Column("expires_at", DateTime(timezone=True), nullable=False),
    Column("used_as", LargeBinary, comment="SHA-256 of what it was when a job first used it"),
    Index("ix_uploads_expires_at", "expires_at"),
)

#: Pictures that jobs start from, one row for each content. `job_inputs` says who needs them.
inputs = Table(
    "inputs",
    metadata,
    Column("sha256", LargeBinary, primary_key=True),
    _now(),
    Column("size", Integer, nullable=False, comment="bytes"),
    Column("width", Integer, nullable=False, comment="upright, as the EXIF says"),
    Column("height", Integer, nullable=False),
    Column("format", Text, nullable=False, comment="png, jpeg or webp"),
    Column("stored_at", DateTime(timezone=True), comment="when the object was there; before: planned"),
    Column("last_used", DateTime(timezone=True), nullable=False, server_default=func.now()),
    Column("key", Text, comment="where it lies, when a render left it there"),
    Index("ix_inputs_last_used", "last_used"),
)

job_inputs = Table(
    "job_inputs",
    metadata,
    Column("sha256", ForeignKey("inputs.sha256", ondelete="CASCADE"), primary_key=True),
    Column("job_id", UUID(as_uuid=True), ForeignKey("jobs.id"), primary_key=True),
)

outbox_id = Sequence("outbox_id_seq", metadata=metadata)

#: Job events, and later webhooks. Partitioned by day: old days are dropped, never deleted row by row.
outbox = Table(
    "outbox",
    metadata,
    Column("id", BigInteger, outbox_id, server_default=outbox_id.next_value(), primary_key=True),
    Column("created_at", DateTime(timezone=True), server_default=func.now(), primary_key=True),
    Column("job_id", UUID(as_uuid=True), nullable=False),
    Column("type", Text, nullable=False),
    Column("data", JSONB, nullable=False),
    Index("ix_outbox_job_id", "job_id", "id"),
    postgresql_partition_by="RANGE (created_at)",
)
