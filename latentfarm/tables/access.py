"""Who may ask the API for what."""

from sqlalchemy import CheckConstraint, Column, DateTime, LargeBinary, Table, Text
from sqlalchemy.dialects.postgresql import ARRAY

from latentfarm.tables.naming import created_at, metadata

_TIME = DateTime(timezone=True)

api_keys = Table(
    "api_keys",
    metadata,
    Column("prefix", Text, primary_key=True, comment="the visible part, which names the key"),
    created_at(),
    Column("tenant", Text, nullable=False),
    Column("name", Text, nullable=False),
    Column("digest", LargeBinary, nullable=False, comment="SHA-256 of the secret, which is kept nowhere"),
    Column("scopes", ARRAY(Text), nullable=False, comment="submit, read, cancel, admin"),
    Column("expires_at", _TIME),
    Column("last_used_at", _TIME, comment="to the minute"),
    Column("revoked_at", _TIME),
    Column("replaced_by", Text, comment="prefix of the key that it was rotated to"),
    Column("rate", Text, comment="how often it may ask; null: as the farm has it"),
    CheckConstraint("octet_length(digest) = 32", name="ck_api_keys_digest"),
)
