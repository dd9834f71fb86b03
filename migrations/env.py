"""Alembic's entry point: one migration at a time, and never behind a long lock."""

from alembic import context
from sqlalchemy import create_engine, pool, text

from latentfarm.repository import rights
from latentfarm.settings import Settings
from latentfarm.tables import metadata


def run() -> None:
    """Runs the migrations against `LATENTFARM_DATABASE_URL`."""
    settings = Settings()
    engine = create_engine(settings.database_url, poolclass=pool.NullPool)
    with engine.begin() as connection:
        # Two deployments at once: the second waits, then finds nothing to do.
        connection.execute(text("SELECT pg_advisory_xact_lock(4710)"))
        # A migration that waits for a busy table must give up rather than stop every query behind it.
        connection.execute(text("SET LOCAL lock_timeout = '10s'"))
        context.configure(connection=connection, target_metadata=metadata, include_name=_ours)
        with context.begin_transaction():
            context.run_migrations()
        # Here, where no migration can forget it: what is new is closed to workers until `rights` says otherwise.
        rights.keep(connection, settings.worker_database_url)
    engine.dispose()


def _ours(name: str | None, kind: str, _parents: object) -> bool:
    """Partitions of the outbox come and go with the days."""
    return not (kind == "table" and name is not None and name.startswith("outbox_"))


run()
