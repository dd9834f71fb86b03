"""Jobs that end, for tests of who is told."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from sqlalchemy import text

from latentfarm.ids import new_id
from latentfarm.repository import claiming, finishing, outgoing
from latentfarm.spec import RenderSpec
from latentfarm.webhook_desk import WebhookDesk
from tests.integration.test_repository import dispatch_all, done, register

if TYPE_CHECKING:
    from uuid import UUID

    from latentfarm.records import Claimed
    from latentfarm.repository.facade import Repository
    from tests.integration.receivers import Receiver


def desk(repository: Repository) -> WebhookDesk:
    """Takes any URL: tests receive on loopback."""
    return WebhookDesk(repository, lambda *_: None)


def submit(repository: Repository, tenant: str = "t", n: int = 1, **fields: Any) -> UUID:
    """A job that waits."""
    given = {"prompt": "a canary", "width": 64, "height": 64, "num_images": n, "seed": 1, **fields}
    job_id = new_id()
    repository.add_job(job_id, RenderSpec.model_validate(given), tenant=tenant)
    return job_id


def claim(repository: Repository) -> list[Claimed]:
    """Takes all that waits."""
    worker = register(repository)
    pairs = dispatch_all(repository)
    return repository.transact(lambda c: claiming.claim(c, worker, pairs))


def finish(repository: Repository, claimed: list[Claimed]) -> None:
    """Ends them well."""
    repository.transact(lambda c: finishing.finish(c, done(claimed)))
    spread(repository)


def spread(repository: Repository) -> None:
    """Addresses what was written down, as a deliverer does at each look."""
    repository.transact(lambda c: outgoing.spread(c, limit=1_000))


def run(repository: Repository, tenant: str = "t", n: int = 1, **fields: Any) -> UUID:
    """A job that has succeeded."""
    job_id = submit(repository, tenant, n, **fields)
    finish(repository, claim(repository))
    return job_id


def rows(repository: Repository, what: str = "*", tenant: str = "t") -> list[Any]:
    """What is kept of deliveries, oldest first."""
    spread(repository)
    statement = text(f"SELECT {what} FROM deliveries WHERE tenant = :tenant ORDER BY id")
    return list(repository.transact(lambda c: c.execute(statement, {"tenant": tenant}).all()))


def hook(repository: Repository, receiver: Receiver, path: str = "/ok", **fields: Any) -> tuple[str, str]:
    """A webhook of the tenant `t`: id and secret."""
    wish: dict[str, Any] = {"events": (), "form": "native", "tenant": "t", **fields}
    made, secret = desk(repository).create(url=receiver.url(path), **wish)
    return str(made.id), secret
