"""API keys: what one looks like, what it may do, and what of it is kept.

A key is `lf_<prefix>_<secret>`: the prefix names it everywhere, the secret is shown once and then only its SHA-256
is known. Not to be mixed up with `keys`, which names objects in the bucket.
"""

from __future__ import annotations

import hashlib
import re
import secrets
import string
from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Collection
    from datetime import datetime

MARK = "lf_"
"""What every key begins with, so that scanners of source code find one that got lost."""
PREFIX = re.compile(r"[a-z0-9]{8}")
NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}")
"""Of a tenant, and of a key."""
NAME_ALLOWED = "1 to 64 letters, digits, '.', '_' and '-'"
_SECRET_BYTES = 32
_KEY = re.compile(rf"{MARK}({PREFIX.pattern})_([A-Za-z0-9_-]{{43}})")


class Scope(StrEnum):
    """What a key may do. Each route needs one of them."""

    SUBMIT = "submit"  # make work: jobs, datasets, uploads
    READ = "read"  # look at it, and fetch what came of it
    CANCEL = "cancel"  # take it back, hold it, let it go on
    ADMIN = "admin"  # all of these for every tenant, keys, and what concerns the farm as a whole


@dataclass(frozen=True, slots=True)
class ApiKey:
    """One key, without its secret.

    Attributes:
        prefix: names it.
        tenant: whose rows it reaches; empty: of the tenant without a name.
        last_used_at: to the minute.
        replaced_by: prefix of the key that it was rotated to.
        rate: how often it may ask, as `rates` reads it; None: as the farm has it, `none`: as often as it likes.
    """

    prefix: str
    tenant: str
    name: str
    scopes: tuple[Scope, ...]
    created_at: datetime
    expires_at: datetime | None = None
    last_used_at: datetime | None = None
    revoked_at: datetime | None = None
    replaced_by: str | None = None
    rate: str | None = None


def draw() -> tuple[str, str]:
    """Prefix and secret of a new key: 8 characters, and 256 bits as 43 of base64url."""
    letters = string.ascii_lowercase + string.digits
    return "".join(secrets.choice(letters) for _ in range(8)), secrets.token_urlsafe(_SECRET_BYTES)


def written(prefix: str, secret: str) -> str:
    """The key as its holder is told it, once."""
    return f"{MARK}{prefix}_{secret}"


def split(key: str) -> tuple[str, str] | None:
    """Prefix and secret of a key; None for what is none."""
    found = _KEY.fullmatch(key)
    return None if found is None else (found[1], found[2])


def digest_of(secret: str) -> bytes:
    """What is kept of a secret. It has 256 random bits, so nobody can try them all, however quick the hash."""
    return hashlib.sha256(secret.encode()).digest()


def allows(scopes: Collection[Scope], needed: Scope) -> bool:
    """Whether these scopes hold the needed one; `admin` holds all."""
    return needed in scopes or Scope.ADMIN in scopes
