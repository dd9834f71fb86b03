"""Opaque cursors: where a list goes on. Their inside may change, so nobody may build on it."""

import base64
import binascii
from uuid import UUID

from latentfarm.errors import InvalidInput

NEWEST = UUID(int=2**128 - 1)
"""Before the first page."""
_VERSION = b"\x01"


def encode(last: UUID) -> str:
    """The cursor after the job `last`."""
    return base64.urlsafe_b64encode(_VERSION + last.bytes).decode().rstrip("=")


def decode(cursor: str, field: str = "after") -> UUID:
    """The job that a cursor stands after.

    Args:
        field: what the parameter is called.

    Raises:
        InvalidInput: it is none of ours.
    """
    try:
        raw = base64.b64decode(cursor + "=" * (-len(cursor) % 4), altchars=b"-_", validate=True)
    except (binascii.Error, ValueError):
        raw = b""
    found = UUID(bytes=raw[1:]) if len(raw) == 17 and raw[:1] == _VERSION else None
    # Some texts are read as one of ours though none was ever given away like that.
    if found is None or encode(found) != cursor.rstrip("="):
        raise InvalidInput(field, "not a cursor", "next_cursor of the page before")
    return found
