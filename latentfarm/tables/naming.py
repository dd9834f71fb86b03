"""What all tables share: the names of constraints and indexes, and the time at which a row came."""

from sqlalchemy import Column, DateTime, MetaData, func

metadata = MetaData(
    naming_convention={
        "ix": "ix_%(table_name)s_%(column_0_N_name)s",
        "uq": "uq_%(table_name)s_%(column_0_N_name)s",
        "fk": "fk_%(table_name)s_%(column_0_N_name)s",
        "pk": "pk_%(table_name)s",
    }
)


def created_at() -> Column[object]:
    """A column of its own for each table that is given it."""
    return Column("created_at", DateTime(timezone=True), nullable=False, server_default=func.now())
