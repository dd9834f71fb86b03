"""Who shares the farm, and how they stand."""

from sqlalchemy import CheckConstraint, Column, DateTime, Integer, Table, Text
from sqlalchemy.dialects.postgresql import DOUBLE_PRECISION

from latentfarm.tables.naming import created_at, metadata


def _amount(name: str, default: str, comment: str) -> Column[object]:
    return Column(name, DOUBLE_PRECISION, nullable=False, server_default=default, comment=comment)


tenants = Table(
    "tenants",
    metadata,
    Column("name", Text, primary_key=True),
    created_at(),
    _amount("weight", "1", "part of the farm against the other tenants that wait"),
    _amount("deficit_s", "0", "GPU-seconds that it is owed; negative: had too many"),
    _amount("used_s", "0", "GPU-seconds that it has had in all"),
    _amount("recent_s", "0", "the same, fading"),
    _amount("recent_starts", "0", "renders started, fading: recent_s by this is what one costs"),
    Column(
        "in_flight",
        Integer,
        nullable=False,
        server_default="0",
        comment="renders dispatched or running that are not charged yet",
    ),
    Column("max_in_flight", Integer, comment="most of these at once"),
    Column("max_queued", Integer, comment="most renders that may wait; further jobs are refused"),
    Column("paused_at", DateTime(timezone=True), comment="nothing of it is dispatched until it is resumed"),
    CheckConstraint("weight > 0", name="ck_tenants_weight"),
)

meters = Table(
    "meters",
    metadata,
    Column("name", Text, primary_key=True),
    Column("read_at", DateTime(timezone=True), nullable=False, comment="charged up to here"),
)
