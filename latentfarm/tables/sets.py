"""Datasets: what a run asks for, where its spool lies, and the shards that its images are packed in.

The id of a dataset is that of its job. Its images are renders of that job, by ordinal; a render of stage seal, with
a negative ordinal, packs each shard, and one more the files at the top.
"""

from sqlalchemy import (
    REAL,
    BigInteger,
    Column,
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
from sqlalchemy.dialects.postgresql import ARRAY, JSONB, UUID

from latentfarm.tables.naming import created_at, metadata

datasets = Table(
    "datasets",
    metadata,
    Column("id", UUID(as_uuid=True), primary_key=True, comment="the job's too, once there is one"),
    created_at(),
    Column("tenant", Text, nullable=False),
    Column("name", Text, nullable=False),
    Column("phase", Text, nullable=False, comment="checking, rejected, inserting or inserted"),
    Column("request", JSONB, nullable=False, comment="DatasetRequest, without inline rows"),
    Column("seed", BigInteger, nullable=False),
    Column("fingerprint", Text, comment="what makes its pictures, as canonical JSON"),
    Column("digest", LargeBinary, comment="SHA-256 of all lines of the spool"),
    Column("images", Integer, nullable=False, server_default="0", comment="that it asks for"),
    Column("inserted", Integer, nullable=False, server_default="0", comment="that are renders by now"),
    Column("report", JSONB, nullable=False, server_default=text("'{}'::jsonb"), comment="of the first pass"),
    Column(
        "published", JSONB, nullable=False, server_default=text("'{}'::jsonb"), comment="files at the top"
    ),
    Column(
        "untidy_since",
        DateTime(timezone=True),
        server_default=func.now(),
        comment="from then on something may be left over in the bucket; null: nothing is",
    ),
    Column("tidied_to", Text, nullable=False, server_default="", comment="key up to which it was looked at"),
    Column(
        "deleted_at", DateTime(timezone=True), comment="when its user threw it away; its rows go by and by"
    ),
    Column(
        "emptied_at",
        DateTime(timezone=True),
        comment="when rows of it were last deleted, or looked at; once it was thrown away",
    ),
    Column("emptied_to", Integer, comment="ordinal up to which its renders were deleted"),
    UniqueConstraint("tenant", "name"),
    Index("ix_datasets_untidy", "untidy_since", postgresql_where=text("untidy_since IS NOT NULL")),
    Index("ix_datasets_deleted", "emptied_at", postgresql_where=text("deleted_at IS NOT NULL")),
    Index("ix_datasets_busy", "id", postgresql_where=text("phase IN ('checking', 'inserting')")),
)

dataset_parts = Table(
    "dataset_parts",
    metadata,
    Column("dataset_id", UUID(as_uuid=True), ForeignKey("datasets.id"), primary_key=True),
    Column("number", Integer, primary_key=True, autoincrement=False),
    Column("first", Integer, nullable=False, comment="ordinal"),
    Column("count", Integer, nullable=False),
    Column("key", Text, nullable=False),
    Column("sha256", LargeBinary, nullable=False),
    Column("size", BigInteger, nullable=False),
)

shards = Table(
    "shards",
    metadata,
    Column("id", BigInteger, Identity(), primary_key=True),
    Column("dataset_id", UUID(as_uuid=True), ForeignKey("datasets.id"), nullable=False),
    Column("number", Integer, nullable=False, comment="-1: the files at the top, which count the shards"),
    Column("part", SmallInteger, nullable=False, comment="0; more for what came after it was sealed"),
    Column("first", Integer, nullable=False, comment="ordinal from which its renders may be"),
    Column("count", Integer, nullable=False, comment="renders that belong to it; of the top: shards"),
    Column("remaining", Integer, nullable=False, comment="of these, not final"),
    Column("failed", Integer, nullable=False, server_default="0"),
    Column("state", Text, nullable=False, comment="open, full, sealed, failed or cancelled"),
    Column("images", Integer, nullable=False, server_default="0", comment="that were packed"),
    Column("seconds", REAL, nullable=False, server_default="0", comment="on devices, for its images"),
    Column(
        "redrawn",
        Integer,
        nullable=False,
        server_default="0",
        comment="times that an image was rendered again with another seed",
    ),
    Column(
        "files", JSONB, nullable=False, server_default=text("'[]'::jsonb"), comment="path, key, size, sha256"
    ),
    Column("sealed_at", DateTime(timezone=True)),
    UniqueConstraint("dataset_id", "number", "part"),
)

redraws = Table(
    "redraws",
    metadata,
    Column("render_id", BigInteger, primary_key=True, autoincrement=False),
    Column(
        "number", SmallInteger, primary_key=True, autoincrement=False, comment="1 for the first of a render"
    ),
    created_at(),
    Column("seed", BigInteger, nullable=False, comment="of the image that was found wanting"),
    Column("fence", Integer, nullable=False, comment="attempts from it on are of the next seed"),
    Column("reasons", ARRAY(Text), nullable=False, comment="dark, uniform, non_finite, duplicate"),
)
