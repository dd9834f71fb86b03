"""Who shares the farm, and how they stand."""

from sqlalchemy import BigInteger, CheckConstraint, Column, Date, DateTime, Integer, Table, Text, func
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

#: Only of tenants that have limits of cost or storage; all that a job of any other one pays for them is to find no row.
quotas = Table(
    "quotas",
    metadata,
    Column("tenant", Text, primary_key=True),
    Column("max_cost_in_flight", DOUBLE_PRECISION, comment="units of images that are not final"),
    Column("max_cost_per_day", DOUBLE_PRECISION, comment="units accepted in one day of UTC"),
    Column("max_storage_bytes", BigInteger),
    Column("max_files", Integer, comment="of clients, and uploads, that are kept at once"),
    Column("day", Date, nullable=False, server_default="1970-01-01", comment="in UTC"),
    _amount("cost_today", "0", "units accepted on that day"),
    Column("storage_bytes", BigInteger, nullable=False, server_default="0", comment="as last counted"),
    Column("counted_at", DateTime(timezone=True), nullable=False, server_default=func.now()),
    Column("count_due", DateTime(timezone=True), nullable=False, server_default=func.now()),
)
