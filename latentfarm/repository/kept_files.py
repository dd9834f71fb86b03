"""Files that a tenant keeps here: those that clients have sent, and uploads, until their time is over.

Not what is kept of batches, which no client sees as a file, nor pictures by their content, which tenants share.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from sqlalchemy import text

if TYPE_CHECKING:
    from datetime import datetime

    from sqlalchemy import Connection

# A link that nobody has used yet counts as what it may take.
_KEPT = text("""
    SELECT count(*) AS count, CAST(coalesce(sum(size), 0) AS bigint) AS size, min(expires_at) AS next_goes_at FROM (
        SELECT size, expires_at FROM files
        WHERE tenant = :tenant AND purpose <> 'lines' AND (expires_at IS NULL OR expires_at > now())
        UNION ALL
        SELECT size, expires_at FROM uploads WHERE tenant = :tenant AND expires_at > now()) AS kept
""")


@dataclass(frozen=True, slots=True)
class KeptFiles:
    """How many, their bytes, and when the first of them goes by itself; None: none does."""

    count: int
    size: int
    next_goes_at: datetime | None


NONE = KeptFiles(0, 0, None)


def count(connection: Connection, tenant: str) -> KeptFiles:
    """What a tenant keeps now. Exact for whoever has locked its row of `quotas`."""
    return KeptFiles(*connection.execute(_KEPT, {"tenant": tenant}).one())
