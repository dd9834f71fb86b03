"""The API keys of a farm: made, found, revoked and rotated. For the API and for the command alike."""

from __future__ import annotations

import hmac
from dataclasses import dataclass
from typing import TYPE_CHECKING

from latentfarm.api_keys import PREFIX, ApiKey, Scope, digest_of, draw, split, written
from latentfarm.errors import Conflict, NotFound
from latentfarm.rates import parse_rates
from latentfarm.repository import access

if TYPE_CHECKING:
    from collections.abc import Collection

    from sqlalchemy import Connection

    from latentfarm.repository.facade import Repository

_NOBODYS = digest_of("")


@dataclass(frozen=True, slots=True)
class KeyRing:
    """All keys of one database."""

    repository: Repository

    def create(
        self,
        *,
        tenant: str,
        name: str,
        scopes: Collection[Scope],
        good_s: float | None = None,
        rate: str | None = None,
    ) -> tuple[ApiKey, str]:
        """A new key, and its text, which nobody can tell again.

        Args:
            good_s: seconds until it expires; None: never.
            rate: how often it may ask; None: as the farm has it.

        Raises:
            InvalidInput: the rate cannot be read.
        """
        parse_rates(rate or "", "rate")
        return self.repository.transact(lambda c: _make(c, tenant, name, scopes, good_s, rate))

    def find(self, text: str) -> ApiKey | None:
        """The key of that text, while it is usable: known, not expired and not revoked. Notes that it was used."""
        parts = split(text)
        if parts is None:
            return None
        prefix, secret = parts
        found = self.repository.transact(lambda c: access.find(c, prefix))
        # Compared also when there is nothing to compare with, so that the time tells nothing of prefixes.
        same = hmac.compare_digest(digest_of(secret), _NOBODYS if found is None else found[1])
        if found is None or not same:
            return None
        key, _, usable, unnoted = found
        if usable and unnoted:
            self.repository.transact(lambda c: access.note_use(c, prefix))
        return key if usable else None

    def is_usable(self, prefix: str) -> bool:
        """Whether a key that was found before still is neither expired nor revoked."""
        found = self.repository.transact(lambda c: access.find(c, prefix))
        return found is not None and found[2]

    def revoke(self, prefix: str) -> ApiKey:
        """Ends a key at once and for good; one that was revoked before stays so.

        Raises:
            NotFound: no such key.
        """
        found = (
            self.repository.transact(lambda c: access.revoke(c, prefix)) if PREFIX.fullmatch(prefix) else None
        )
        if found is None:
            raise _unknown(prefix)
        return found

    def rotate(self, prefix: str, *, overlap_s: float, rate: str | None = None) -> tuple[ApiKey, str]:
        """A new key with the same tenant, name, scopes and length of life, and its text.

        Args:
            overlap_s: seconds for which the old key is good beside it, unless it expires before.
            rate: how often it may ask; None: as the old one.

        Raises:
            InvalidInput: the rate cannot be read.
            NotFound: no such key.
            Conflict: it is not usable any more, or was rotated before.
        """
        parse_rates(rate or "", "rate")

        def rotate(connection: Connection) -> tuple[ApiKey, str]:
            found = access.lock(connection, prefix) if PREFIX.fullmatch(prefix) else None
            if found is None:
                raise _unknown(prefix)
            old, usable, good_s = found
            if old.replaced_by is not None:
                raise Conflict(f"the key {prefix} was rotated before, to {old.replaced_by}")
            if not usable:
                raise Conflict(f"the key {prefix} is revoked or expired; create a new one")
            made = _make(connection, old.tenant, old.name, old.scopes, good_s, rate or old.rate)
            access.replace(connection, prefix, by=made[0].prefix, overlap_s=overlap_s)
            return made

        return self.repository.transact(rotate)

    def listing(
        self, *, tenant: str | None = None, after: str | None = None, limit: int = 100
    ) -> list[ApiKey]:
        """Keys in the order in which they were made, of one tenant or of all, behind the one called `after`."""
        return self.repository.transact(lambda c: access.listing(c, tenant=tenant, after=after, limit=limit))

    def has_admin(self) -> bool:
        """Whether some usable key has the scope admin, so that somebody can make others."""
        return self.repository.transact(access.any_admin)


def _make(
    connection: Connection,
    tenant: str,
    name: str,
    scopes: Collection[Scope],
    good_s: float | None,
    rate: str | None,
) -> tuple[ApiKey, str]:
    ordered = [scope for scope in Scope if scope in scopes]
    while True:
        prefix, secret = draw()
        digest = digest_of(secret)
        made = access.add(
            connection, prefix, digest, tenant=tenant, name=name, scopes=ordered, good_s=good_s, rate=rate
        )
        if made is not None:
            return made, written(prefix, secret)


def _unknown(prefix: str) -> NotFound:
    return NotFound(f"no key {prefix[:20]!r}")
