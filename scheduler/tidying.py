"""Deletes what lies in the bucket for datasets that rest, and that none of their records tells of."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from latentfarm.keys import dataset_prefix, spool_prefix
from latentfarm.repository import leftovers

if TYPE_CHECKING:
    from sqlalchemy import Connection

    from latentfarm.repository.leftovers import Untidy
    from latentfarm.storage import S3Store

PAGES = 5
"""Pages of up to 1,000 objects that one sweep looks at: none of its locks is held for long."""


@dataclass(frozen=True, slots=True)
class Tidying:
    """One sweep after the other, each in a transaction that keeps everybody else from the datasets it looks at.

    Attributes:
        after_s: seconds for which a dataset must have rested.
    """

    store: S3Store
    after_s: float

    def sweep(self, connection: Connection) -> str:
        """Looks at some pages; tells what was deleted."""
        deleted = forgotten = 0
        for _ in range(PAGES):
            found = leftovers.lock_next(connection, after_s=self.after_s)
            if found is None:
                break
            if (found.gone or found.packed) and leftovers.forget_spool(connection, found.id):
                # Its objects are left over once this is committed.
                forgotten += 1
                break
            deleted += self._page(connection, found)
        told = (f"deleted {deleted} leftovers",) if deleted else ()
        return ", ".join((f"forgot {forgotten} spools",) * bool(forgotten) + told)

    def _page(self, connection: Connection, found: Untidy) -> int:
        """The next objects of a dataset; how many were deleted."""
        if found.gone and not found.tidied_to:
            # First of all: nobody who reads the bucket itself may meet a manifest whose files are gone.
            self.store.delete(found.top)
        for prefix in (dataset_prefix(found.id), spool_prefix(found.id)):
            if found.tidied_to > prefix and not found.tidied_to.startswith(prefix):
                continue  # all of it was looked at before
            after = found.tidied_to if found.tidied_to.startswith(prefix) else ""
            page = next(self.store.pages(prefix, after=after), [])
            if page:
                return self._held_against_records(connection, found, [item.key for item in page])
        leftovers.done(connection, found.id)
        return 0

    def _held_against_records(self, connection: Connection, found: Untidy, keys: list[str]) -> int:
        kept = leftovers.known(connection, found, keys)
        strays = [key for key in keys if key not in kept]
        if strays:
            self.store.delete(strays)
        leftovers.go_on(connection, found.id, keys[-1])
        return len(strays)
