"""Migrations make exactly the tables that the code knows, and can be taken back."""

from __future__ import annotations

import os
import subprocess
import sys
import uuid
from typing import TYPE_CHECKING

import psycopg
import pytest
from sqlalchemy import create_engine, text

from latentfarm.tables import metadata
from tests.conftest import ROOT
from tests.own_farm import admin, database_url

if TYPE_CHECKING:
    from collections.abc import Iterator

    from latentfarm.embedded.stack import Stack

#: Everything that makes a table what it is. The default partition is the migration's alone: SQLAlchemy
#: has no word for it.
CATALOG = """
    SELECT 'column', format('%s.%s %s null=%s default=%s identity=%s', table_name, column_name, udt_name,
                            is_nullable, column_default, identity_generation)
    FROM information_schema.columns WHERE table_schema = 'public'
    UNION ALL
    SELECT 'comment', format('%s.%s: %s', c.relname, a.attname, col_description(c.oid, a.attnum))
    FROM pg_class c JOIN pg_attribute a ON a.attrelid = c.oid
    WHERE c.relnamespace = 'public'::regnamespace AND col_description(c.oid, a.attnum) IS NOT NULL
    UNION ALL
    SELECT 'index', indexdef FROM pg_indexes WHERE schemaname = 'public'
    UNION ALL
    SELECT 'constraint', format('%s %s %s', conrelid::regclass, conname, pg_get_constraintdef(oid))
    FROM pg_constraint WHERE connamespace = 'public'::regnamespace
    UNION ALL
    SELECT 'relation', format('%s %s %s %s', relname, relkind, reloptions, pg_get_partkeydef(oid))
    FROM pg_class WHERE relnamespace = 'public'::regnamespace AND relkind IN ('r', 'p', 'S')
"""


@pytest.fixture
def empty(stack: Stack) -> Iterator[str]:
    """URL of a database without a table."""
    name = f"empty_{uuid.uuid4().hex[:12]}"
    with psycopg.connect(admin(stack), autocommit=True) as connection:
        connection.execute(f"CREATE DATABASE {name}")
        yield database_url(stack, name)
        connection.execute(f"DROP DATABASE {name} WITH (FORCE)")


def alembic(url: str, *arguments: str) -> subprocess.Popen[str]:
    environment = {**os.environ, "LATENTFARM_DATABASE_URL": url}
    command = [sys.executable, "-m", "alembic", *arguments]
    return subprocess.Popen(command, cwd=ROOT, env=environment, text=True, stderr=subprocess.PIPE)


def migrate(url: str, *arguments: str) -> None:
    running = alembic(url, *arguments)
    _, errors = running.communicate(timeout=60)
    assert running.returncode == 0, errors


def catalog(url: str) -> set[tuple[str, str]]:
    engine = create_engine(url)
    with engine.connect() as connection:
        rows = {(str(row[0]), str(row[1])) for row in connection.execute(text(CATALOG))}
    engine.dispose()
    return {row for row in rows if "outbox_default" not in row[1] and "alembic_version" not in row[1]}


def test_upgrade_makes_exactly_the_tables_of_the_code(empty: str, template: str, stack: Stack) -> None:
    engine = create_engine(empty)
    metadata.create_all(engine)
    engine.dispose()
    migrated, known = catalog(database_url(stack, template)), catalog(empty)
    assert migrated - known == set()
    assert known - migrated == set()
    assert {name for kind, name in known if kind == "relation" and name.startswith("renders ")}


def test_downgrade_leaves_nothing_and_upgrade_works_again(empty: str) -> None:
    migrate(empty, "upgrade", "head")
    made = catalog(empty)
    migrate(empty, "downgrade", "base")
    assert catalog(empty) == set()
    migrate(empty, "upgrade", "head")
    assert catalog(empty) == made


def test_two_deployments_at_once_are_harmless(empty: str) -> None:
    runs = [alembic(empty, "upgrade", "head") for _ in range(3)]
    assert [(run.communicate(timeout=60)[1], run.returncode) for run in runs] == [("", 0)] * 3


@pytest.mark.long
def test_a_migration_gives_up_on_a_table_that_is_in_use(empty: str) -> None:
    """It must not queue behind a long transaction, with every other query behind it."""
    migrate(empty, "upgrade", "head")
    with psycopg.connect(empty.replace("+psycopg", "")) as busy:
        busy.execute("LOCK TABLE renders IN ACCESS SHARE MODE")
        running = alembic(empty, "downgrade", "base")
        _, errors = running.communicate(timeout=60)
    assert running.returncode != 0
    assert "lock timeout" in errors
