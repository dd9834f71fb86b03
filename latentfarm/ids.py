"""Ids: UUIDv7 for what users see, so that ids sort by time and cannot be guessed."""

from uuid import UUID

from latentfarm.errors import NotFound


def new_id() -> UUID:
    """A fresh UUIDv7."""
    import uuid_utils.compat

    return uuid_utils.compat.uuid7()


def parse_id(text: str) -> UUID:
    """Reads an id from a URL.

    Raises:
        NotFound: it is no UUID, so there can be no such thing.
    """
    try:
        return UUID(text)
    except ValueError as error:
        raise NotFound(f"no job {text[:64]!r}") from error
