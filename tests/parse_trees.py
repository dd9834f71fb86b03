"""What a role has asked PostgreSQL for, out of the server's log: tables and columns, as the server itself has parsed it."""

from __future__ import annotations

import contextlib
import re
from typing import TYPE_CHECKING

import psycopg

from tests.own_farm import admin

if TYPE_CHECKING:
    from collections.abc import Iterator

    from latentfarm.embedded.stack import Stack

Needs = set[tuple[str, str, str]]
"""Privilege, table and column; an empty column: any one of the table, or a privilege on rows."""

_RELATION = re.compile(
    r"\{RTEPERMISSIONINFO :relid (\d+) :inh (?:true|false) :requiredPerms (\d+) :checkAsUser \d+"
    r" :selectedCols \(b([ \d]*)\) :insertedCols \(b([ \d]*)\) :updatedCols \(b([ \d]*)\) ?\}"
)
_INSERT, _DELETE = 1, 8
_PRIVILEGES = ((2, "SELECT", 3), (_INSERT, "INSERT", 4), (4, "UPDATE", 5))
_BEFORE_FIRST = 7
"""So many columns of the system come before the first one of a table."""

_COLUMNS = """
    SELECT c.oid, a.attnum, c.relname, a.attname FROM pg_class c JOIN pg_attribute a ON a.attrelid = c.oid
    WHERE c.relnamespace = 'public'::regnamespace AND a.attnum > 0 AND c.relkind IN ('r', 'p')
"""


@contextlib.contextmanager
def asked(stack: Stack, url: str, role: str) -> Iterator[Needs]:
    """What sessions of a role that begin in this block ask for, in the database of that URL; filled at its end."""
    needs: Needs = set()
    log = stack.folder.log("postgres")
    start = log.stat().st_size
    with psycopg.connect(admin(stack), autocommit=True) as connection:
        # A tree is the detail of its line, and a terse log has no details.
        for setting in ("debug_print_parse = on", "log_error_verbosity = 'default'"):
            connection.execute(f"ALTER ROLE {role} SET {setting}")
        try:
            yield needs
        finally:
            for name in ("debug_print_parse", "log_error_verbosity"):
                connection.execute(f"ALTER ROLE {role} RESET {name}")
    with psycopg.connect(url) as connection:
        columns = {(row[0], row[1]): (row[2], row[3]) for row in connection.execute(_COLUMNS)}
    tables = {oid: names[0] for (oid, _), names in columns.items()}
    with log.open(errors="replace") as file:
        file.seek(start)
        text = re.sub(r"\s+", " ", file.read())
    for found in _RELATION.finditer(text):
        table, permissions = tables.get(int(found[1])), int(found[2])
        # The checks of foreign keys lock a row `ONLY` of one table, and run as its owner.
        if table is None or (":inh false" in found[0] and not permissions & _INSERT):
            continue
        for bit, privilege, group in _PRIVILEGES:
            if permissions & bit:
                numbers = [int(one) - _BEFORE_FIRST for one in found[group].split()] or [0]
                needs.update(
                    (privilege, table, columns.get((int(found[1]), one), ("", ""))[1]) for one in numbers
                )
        if permissions & _DELETE:
            needs.add(("DELETE", table, ""))
    assert needs, "the log has no parse trees"
