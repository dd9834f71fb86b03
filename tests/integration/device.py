"""A device without a worker process: claims and ends renders as a test tells it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from sqlalchemy import text

from latentfarm.ids import new_id
from latentfarm.records import Claimed, Done, Failure, ObjectRef
from latentfarm.repository import claiming, failing, finishing
from latentfarm.spec import RenderSpec
from latentfarm.states import Stage

if TYPE_CHECKING:
    from collections.abc import Sequence
    from uuid import UUID

    from latentfarm.errors import ErrorClass
    from latentfarm.repository.facade import Repository

REF = ObjectRef("v1/x", b"\0" * 32, 7)


def submit(repository: Repository, n: int = 1) -> list[int]:
    """A job of `n` images; their render ids."""
    job_id = new_id()
    spec = RenderSpec(prompt="a red circle", width=64, height=64, num_images=n, seed=1)
    repository.add_job(job_id, spec, tenant="")
    return column(repository, "SELECT id FROM renders WHERE job_id = :job ORDER BY id", job=job_id)


def column(repository: Repository, sql: str, **values: object) -> list[int]:
    return repository.transact(lambda c: list(c.execute(text(sql), values).scalars()))


def run(repository: Repository, sql: str, **values: object) -> None:
    repository.transact(lambda c: c.execute(text(sql), values))


def job_of(repository: Repository, render: int) -> UUID:
    sql = "SELECT job_id FROM renders WHERE id = :id"
    found: UUID = repository.transact(lambda c: c.execute(text(sql), {"id": render}).scalar_one())
    return found


class Device:
    """A host and a device on it, with one live incarnation after the other."""

    def __init__(self, repository: Repository, name: str = "cpu", *, host: str = "h") -> None:
        self.repository = repository
        self.host, self.name = host, name
        self.worker = 0
        self.start()

    def start(self, *, ready: bool = True) -> int:
        """The next incarnation."""
        self.worker = self.repository.register(
            host=self.host, pid=1, device=self.name, stages=[Stage.BASE], models=["tiny"], lease_s=60
        )
        if ready:
            self.repository.mark_ready(self.worker, {"device_name": "a device"})
        return self.worker

    def end_reason(self) -> str | None:
        sql = "SELECT end_reason FROM workers WHERE id = :id"
        values = {"id": self.worker}
        found: str | None = self.repository.transact(lambda c: c.execute(text(sql), values).scalar_one())
        return found

    def claim(self, *renders: int) -> list[Claimed]:
        """Takes these renders, whatever their back-off."""
        run(
            self.repository,
            "UPDATE renders SET due_at = now() WHERE id = ANY (:ids) AND state = 0",
            ids=list(renders),
        )
        for queue in self.repository.queues():
            self.repository.pick(queue, window_per_worker=10_000)
        sql = "SELECT id, fence FROM renders WHERE id = ANY (:ids) AND state = 1 ORDER BY id"
        rows = self.repository.transact(lambda c: c.execute(text(sql), {"ids": list(renders)}).all())
        pairs = [(row.id, row.fence) for row in rows]
        return self.repository.transact(lambda c: claiming.claim(c, self.worker, pairs))

    def fail(self, error_class: ErrorClass, *renders: int, message: str = "it broke") -> None:
        """Takes renders, and fails all of them at once."""
        claimed = self.claim(*renders)
        assert [item.render_id for item in claimed] == sorted(renders)
        self.end_badly(error_class, claimed, message)

    def end_badly(
        self, error_class: ErrorClass, claimed: Sequence[Claimed], message: str = "it broke"
    ) -> None:
        failures = [Failure(item.render_id, item.fence, error_class, message, 2) for item in claimed]
        self.repository.transact(lambda c: failing.fail(c, failures))

    def succeed(self, *renders: int) -> None:
        done = [Done(item.render_id, item.fence, REF, 4) for item in self.claim(*renders)]
        assert len(done) == len(renders)
        self.repository.transact(lambda c: finishing.finish(c, done))

    def die(self, *renders: int) -> None:
        """Takes renders, dies, and starts again."""
        self.claim(*renders)
        self.repository.end_worker(self.worker, "exited with -9")
        if self.end_reason() != "quarantined":
            self.start()
