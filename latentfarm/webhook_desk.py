"""The webhooks of tenants: made, changed, rotated, and what was sent to them read and sent again."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime
from functools import partial
from typing import TYPE_CHECKING, Any, TypeVar
from uuid import UUID

from latentfarm.errors import Conflict, InvalidInput, NotFound
from latentfarm.ids import new_id
from latentfarm.repository import delivery_log, webhooks
from latentfarm.webhooks.signing import new_secret
from latentfarm.webhooks.told import default_id

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from latentfarm.repository.facade import Repository
    from latentfarm.webhooks.hook import Delivery, Hook

DEFAULT = "default"
"""Stands for the id of a tenant's default webhook."""
BATCH = 1_000
"""Deliveries that one transaction makes due again."""

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class WebhookDesk:
    """All webhooks of one database.

    Attributes:
        reachable: refuses URLs, under the name of a field, that nothing can ever be sent to.
    """

    repository: Repository
    reachable: Callable[[str, str], object]

    def create(self, *, tenant: str, url: str, events: tuple[str, ...], form: str) -> tuple[Hook, str]:
        """A new webhook, and its secret, which nobody can read again.

        Raises:
            InvalidInput: a URL that nothing can be sent to, or the tenant has as many as it may.
        """
        self.reachable("url", url)
        secret = new_secret()
        add = partial(webhooks.add, hook_id=new_id(), secret=secret, tenant=tenant)
        hook = self.repository.transact(partial(add, url=url, events=events, format=form))
        if hook is None:
            raise InvalidInput("url", f"a tenant has at most {webhooks.MOST} webhooks", "delete one first")
        return hook, secret

    def listing(self, *, tenant: str) -> list[Hook]:
        """All webhooks of a tenant but its default, in the order in which they were made."""
        return self.repository.transact(partial(webhooks.listing, tenant=tenant))

    def get(self, name: str, *, tenant: str) -> Hook:
        """One webhook; the default is made when it is first asked for.

        Raises:
            NotFound: the tenant has none of that id.
        """
        find = partial(webhooks.get, hook_id=_id(name, tenant), tenant=tenant)
        found = self.repository.transact(find)
        if found is None and name == DEFAULT:
            self._ensure_default(tenant)
            found = self.repository.transact(find)
        return _found(found, name)

    def change(self, name: str, wish: Mapping[str, Any], *, tenant: str) -> Hook:
        """Changes what is named of `url`, `events`, `format` and `enabled`.

        Raises:
            InvalidInput: a URL that nothing can be sent to.
            NotFound: the tenant has none of that id, or it is the default.
        """
        if "url" in wish:
            self.reachable("url", wish["url"])
        change = partial(webhooks.change, hook_id=_id(name, tenant), wish=wish, tenant=tenant)
        return _found(self.repository.transact(change), name)

    def rotate(self, name: str, *, tenant: str, overlap_s: float) -> tuple[Hook, str]:
        """Gives a webhook a new secret, beside which the old one signs for so many seconds.

        Raises:
            NotFound: the tenant has none of that id.
        """
        hook_id, secret = _id(name, tenant), new_secret()
        if name == DEFAULT:
            self._ensure_default(tenant)
        rotate = partial(webhooks.rotate, hook_id=hook_id, secret=secret, tenant=tenant, overlap_s=overlap_s)
        return _found(self.repository.transact(rotate), name), secret

    def delete(self, name: str, *, tenant: str) -> None:
        """Forgets a webhook, and what is due to it.

        Raises:
            NotFound: the tenant has none of that id, or it is the default.
        """
        hook_id = _id(name, tenant)
        if not self.repository.transact(partial(webhooks.delete, hook_id=hook_id, tenant=tenant)):
            raise _unknown(name)

    def default_secret(self, tenant: str) -> str:
        """What signs the webhooks that the tenant's jobs name; drawn when it is first asked for."""
        find = partial(webhooks.default_secret, tenant=tenant)
        secret = self.repository.transact(find)
        if secret is None:
            self._ensure_default(tenant)
            secret = self.repository.transact(find)
        return _found(secret, DEFAULT)

    def deliveries(
        self, name: str, *, tenant: str, before: UUID, state: str | None, limit: int
    ) -> list[Delivery]:
        """What was sent to a webhook, or will be, newest first.

        Raises:
            NotFound: the tenant has none of that id.
        """
        hook = self.get(name, tenant=tenant)
        listing = partial(delivery_log.listing, webhook_id=hook.id, tenant=tenant)
        return self.repository.transact(partial(listing, before=before, state=state, limit=limit))

    def replay(self, name: str, delivery: str, *, tenant: str) -> Delivery:
        """Sends one again, under the id that it had.

        Raises:
            NotFound: there is no such delivery.
            Conflict: the webhook is disabled.
        """
        hook = self._enabled(name, tenant)
        replay = partial(delivery_log.replay, webhook_id=hook.id, delivery_id=_uuid(delivery), tenant=tenant)
        return _found(self.repository.transact(replay), delivery)

    def replay_range(
        self, name: str, *, tenant: str, since: datetime, until: datetime | None, state: str | None
    ) -> int:
        """Sends those again that were written in a time and have ended; returns how many.

        Raises:
            NotFound: the tenant has no webhook of that id.
            Conflict: it is disabled.
        """
        hook, count, after = self._enabled(name, tenant), 0, UUID(int=0)
        replay = partial(
            delivery_log.replay_range,
            webhook_id=hook.id,
            tenant=tenant,
            since=since,
            until=until or datetime.now(UTC),
            state=state,
            limit=BATCH,
        )
        while found := self.repository.transact(partial(replay, after=after)):
            count, after = count + len(found), found[-1]
        return count

    def _enabled(self, name: str, tenant: str) -> Hook:
        hook = self.get(name, tenant=tenant)
        if hook.disabled_at is not None:
            raise Conflict(f"the webhook {name} is disabled; enable it first")
        return hook

    def _ensure_default(self, tenant: str) -> None:
        self.repository.transact(partial(webhooks.ensure_default, tenant=tenant, secret=new_secret()))


def _id(name: str, tenant: str) -> UUID:
    return default_id(tenant) if name == DEFAULT else _uuid(name)


def _uuid(text: str) -> UUID:
    try:
        return UUID(text)
    except ValueError as error:
        raise _unknown(text) from error


def _found(found: T | None, name: str) -> T:
    if found is None:
        raise _unknown(name)
    return found


def _unknown(name: str) -> NotFound:
    return NotFound(f"nothing has the id {name[:64]!r}")
