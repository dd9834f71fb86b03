"""Ends every job soon, whatever was done to it: what asks for it may wait for its end, and nobody renders here."""

from __future__ import annotations

import contextlib
import threading
from typing import TYPE_CHECKING

from sqlalchemy import text

from latentfarm.states import Stage
from tests.integration.serving import Puppet

if TYPE_CHECKING:
    from collections.abc import Iterator

    from latentfarm.repository.facade import Repository
    from latentfarm.storage import S3Store

PAUSE_S = 0.05
PICTURES = 16
"""Renders of one turn that end with a file; the rest of a large job is taken back."""
# Whoever fuzzes drains queues and pauses tenants too; without this, soon no job would end well any more.
_LET_GO = (
    text("UPDATE queues SET drained_at = NULL WHERE drained_at IS NOT NULL"),
    text("UPDATE tenants SET paused_at = NULL, max_in_flight = NULL WHERE paused_at IS NOT NULL"),
)
_OLD = text("SELECT id, tenant FROM jobs WHERE finished_at IS NULL AND created_at < now() - interval '1 s'")


@contextlib.contextmanager
def ending(repository: Repository, store: S3Store) -> Iterator[None]:
    """While this is open, jobs end: small ones well, and what is left of large ones after a second as cancelled."""
    stopping = threading.Event()
    broken: list[Exception] = []

    def work() -> None:
        puppet = Puppet(repository, store)
        try:
            while not stopping.wait(PAUSE_S):
                _turn(repository, puppet)
        except Exception as error:  # noqa: BLE001 - for the test, in its own thread
            broken.append(error)

    thread = threading.Thread(target=work, name="ender")
    thread.start()
    try:
        yield
    finally:
        stopping.set()
        thread.join()
    assert not broken, broken


def _turn(repository: Repository, puppet: Puppet) -> None:
    for statement in _LET_GO:
        repository.transact(lambda c, statement=statement: c.execute(statement))  # type: ignore[misc]
    claimed = puppet.claim(PICTURES)
    halves = [item for item in claimed if item.stage is Stage.BASE and item.picture.get("refiner")]
    puppet.hand_over(halves)
    puppet.finish([item for item in claimed if item not in halves])
    for job_id, tenant in repository.transact(lambda c: c.execute(_OLD).all()):
        repository.mark_cancelled(job_id, tenant=tenant)
        while repository.cancel_renders(job_id):
            pass
