"""A farm of rows: PostgreSQL alone, with workers that are rows too and a clock that is moved by hand."""

from __future__ import annotations

import os
import subprocess
import sys
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from sqlalchemy import text

from latentfarm.database import connect
from latentfarm.embedded.stack import Stack
from latentfarm.ids import new_id
from latentfarm.records import Done, ObjectRef
from latentfarm.repository import charging, claiming, finishing
from latentfarm.repository.facade import Repository
from latentfarm.spec import RenderSpec
from latentfarm.states import Lane, Stage

if TYPE_CHECKING:
    from collections.abc import Iterator

    from latentfarm.records import Claimed, Queue

_ROOT = Path(__file__).resolve().parents[2]
_REF = ObjectRef("v1/x", b"\0" * 32, 1)
_EMPTY = text("TRUNCATE renders, attempts, objects, jobs, tenants, meters, workers CASCADE")
_FILL = text("""
    WITH made AS (
        INSERT INTO jobs (id, tenant, kind, spec_id, lane, priority, state, seed, num_images, remaining, queued,
                          keep_latents, model)
        SELECT gen_random_uuid(), 't' || (i % 10), 'single', (SELECT min(id) FROM specs), 'bulk', 0, 'running', 1,
               :each, :each, :each, 0, 'tiny' FROM generate_series(1, :jobs) AS i RETURNING id)
    INSERT INTO renders (job_id, spec_id, seed, ordinal, queue_id, stage)
    SELECT made.id, (SELECT min(id) FROM specs), o, o, :queue, 0 FROM made, generate_series(0, :each - 1) AS o
""")
_USED = text("SELECT name, used_s FROM tenants")
_BACK = text("UPDATE meters SET read_at = now() - make_interval(secs => :s)")


@contextmanager
def records(folder: Path) -> Iterator[Repository]:
    """A real database with all tables."""
    with Stack(folder) as stack:
        environment = {**os.environ, **stack.environment()}
        command = [sys.executable, "-m", "alembic", "upgrade", "head"]
        subprocess.run(command, cwd=_ROOT, env=environment, check=True, capture_output=True)
        engine = connect(environment["LATENTFARM_DATABASE_URL"], pool=2, application="benchmark")
        yield Repository(engine)
        engine.dispose()


def empty(repository: Repository) -> None:
    """Takes all jobs and workers away, and what tenants are owed."""
    repository.transact(lambda c: c.execute(_EMPTY))


def add(repository: Repository, count: int, tenant: str) -> None:
    """One job of a tenant."""
    spec = RenderSpec(prompt="x", width=64, height=64, num_images=count, seed=1, lane=Lane.BULK)
    repository.add_job(new_id(), spec, tenant=tenant)


def fill(repository: Repository, jobs: int, each: int) -> Queue:
    """So many jobs of ten tenants, and so many renders of each; the planner is told."""
    empty(repository)
    add(repository, 1, "t0")
    (queue,) = [queue for queue in repository.queues() if queue.lane is Lane.BULK]
    values = {"jobs": jobs, "each": each, "queue": queue.id}
    repository.transact(lambda c: c.execute(_FILL, values))
    repository.transact(lambda c: c.execute(text("ANALYZE")))
    return queue


def worker(repository: Repository, *, capacity: int, device: str = "0") -> int:
    """Registers one that is ready, and never asks for its lease again."""
    made = repository.register(
        host="h", pid=1, device=device, stages=[Stage.BASE], models=["tiny"], lease_s=1e6
    )
    repository.mark_ready(made, {"capacity": capacity})
    return made


@dataclass(slots=True)
class Workers:
    """Rows that take what is dispatched, hold it for `cost_s` of the hand-moved clock, and finish it."""

    repository: Repository
    slots: int
    cost_s: dict[str, int]
    ids: list[int] = field(default_factory=list)
    offered: list[Any] = field(default_factory=list)
    held: dict[int, list[tuple[int, Claimed]]] = field(default_factory=dict)

    def start(self, count: int) -> None:
        """Registers so many."""
        for number in range(count):
            made = worker(self.repository, capacity=self.slots, device=str(number))
            self.ids.append(made)
            self.held[made] = []

    def second(self, now: int, queue: Queue, tenant_of: dict[Any, str]) -> None:
        """Ends what is due, claims, dispatches, and charges."""
        for worker in self.ids:
            due = [item for end, item in self.held[worker] if end <= now]
            done = [Done(item.render_id, item.fence, _REF, 1) for item in due]
            if done:
                self.repository.transact(lambda c, done=done: finishing.finish(c, done))  # type: ignore[misc]
            self.held[worker] = [(end, item) for end, item in self.held[worker] if end > now]
            self.offered += self.repository.pick(queue, window_per_worker=24).picks
            room = self.slots - len(self.held[worker])
            taken, self.offered = self.offered[:room], self.offered[room:]
            pairs = [(pick.render_id, pick.fence) for pick in taken]
            claimed = self.repository.transact(lambda c, w=worker, p=pairs: claiming.claim(c, w, p))  # type: ignore[misc]
            self.held[worker] += [(now + self.cost_s[tenant_of[item.job_id]], item) for item in claimed]

        def charge(connection: Any) -> None:
            connection.execute(_BACK, {"s": 1.0})
            charging.charge(connection)

        self.repository.transact(charge)

    def used(self) -> dict[str, float]:
        """GPU-seconds that each tenant was charged."""
        return {row.name: row.used_s for row in self.repository.transact(lambda c: c.execute(_USED).all())}
