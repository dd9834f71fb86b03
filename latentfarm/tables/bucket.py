"""What lies in the bucket, and why."""

from sqlalchemy import (
    BigInteger,
    Column,
    DateTime,
    ForeignKey,
    Index,
    Integer,
    LargeBinary,
    SmallInteger,
    Table,
    Text,
    func,
    text,
)
from sqlalchemy.dialects.postgresql import JSONB, UUID

from latentfarm.tables.naming import created_at, metadata

objects = Table(
    "objects",
    metadata,
    Column("render_id", BigInteger, primary_key=True),
    Column("fence", Integer, primary_key=True),
    created_at(),
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
    created_at(),
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

uploads = Table(
    "uploads",
    metadata,
    Column("id", UUID(as_uuid=True), primary_key=True),
    created_at(),
    Column("tenant", Text, nullable=False),
    Column("size", Integer, nullable=False, comment="bytes that the link takes"),
    Column("expires_at", DateTime(timezone=True), nullable=False),
    Column("used_as", LargeBinary, comment="SHA-256 of what it was when a job first used it"),
    Index("ix_uploads_expires_at", "expires_at"),
    Index("ix_uploads_tenant", "tenant"),
)

#: Pictures that jobs start from, one row for each content. `job_inputs` says who needs them.
inputs = Table(
    "inputs",
    metadata,
    Column("sha256", LargeBinary, primary_key=True),
    created_at(),
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
