"""Each event reaches each receiver, whoever dies and whatever receivers do: at least once, under one id, after the commit, signed."""

from __future__ import annotations

import contextlib
import json
import random
import threading
import time
from collections import Counter, defaultdict
from dataclasses import dataclass, field
from functools import partial
from typing import TYPE_CHECKING, Any

import pytest
from sqlalchemy import text

from latentfarm import Client
from latentfarm.errors import LatentfarmError
from latentfarm.repository import claiming, finishing
from tests.acceptance.farm import Farm, until
from tests.integration.https_server import authority
from tests.integration.receivers import Got, Receiver, receiving
from tests.integration.test_repository import dispatch_all, done, register

if TYPE_CHECKING:
    import subprocess
    from collections.abc import Iterator
    from pathlib import Path

    from latentfarm.records import Claimed
    from latentfarm.repository.facade import Repository

RECEIVERS = 10
SPEC = {"prompt": "a canary", "width": 64, "height": 64, "num_inference_steps": 2, "lane": "bulk"}
COUNT = "SELECT count(*) FROM deliveries"
ENDED = "SELECT finished_at IS NOT NULL FROM jobs WHERE id = CAST(:id AS uuid)"
AHEAD = 300
"""Deliveries that may wait before more jobs are handed in: so all three are at work at every kill."""


@dataclass
class Judge:
    """Looks at each request when it comes in: a signature is good for five minutes.

    Attributes:
        secrets: by path.
    """

    repository: Repository
    secrets: dict[str, str] = field(default_factory=dict)
    wrong: list[str] = field(default_factory=list)
    verified: int = 0

    def __call__(self, got: Got) -> None:
        try:
            body = got.verify(self.secrets[got.path])
            self.verified += 1
            job = body["data"]["id"]
            if not self.repository.transact(lambda c: c.execute(text(ENDED), {"id": job}).scalar()):
                self.wrong.append(f"{got.id} came before the end of {job} was committed")
        except Exception as error:  # noqa: BLE001 - all of them are told at the end
            self.wrong.append(f"{got.path} {got.id}: {error!r}")


class World:
    """An API, two deliverers, a receiver, and a thread that ends jobs."""

    def __init__(self, farm: Farm, receiver: Receiver, judge: Judge, folder: Path) -> None:
        self.farm, self.receiver, self.judge = farm, receiver, judge
        pem = folder / "authority.pem"
        authority().cert_pem.write_to_path(str(pem))
        self.variables = {"RECEIVER_PORT": str(receiver.port), "RECEIVER_AUTHORITY": str(pem)}
        self.processes: dict[str, subprocess.Popen[bytes]] = {}
        self.stopping = threading.Event()
        self.submitted = 0
        self.rolled_back = 0

    def start(self, name: str) -> None:
        kind = "api" if name == "api" else "deliver"
        self.processes[name] = self.farm.start("tests.acceptance.telling", kind, **self.variables)

    def kill(self, name: str) -> None:
        self.processes[name].kill()
        self.processes[name].wait()
        self.start(name)

    def hand_in(self, jobs: int) -> None:
        """Each under a key, again and again until it is answered."""
        with Client(self.farm.url, retry_s=1.0, timeout=5.0) as client:
            for number in range(jobs):
                while not self.stopping.is_set():
                    waits = self.submitted * RECEIVERS - self.taken()
                    if waits > AHEAD:
                        time.sleep(0.05)
                        continue
                    with contextlib.suppress(LatentfarmError):
                        client.submit(SPEC, idempotency_key=f"job {number}")
                        self.submitted += 1
                        break

    def end(self) -> None:
        """Ends what was handed in; a third of it first in a transaction that is rolled back, all of it slowly."""
        repository, drawn = self.farm.repository, random.Random(8)
        worker = register(repository)
        while not self.stopping.is_set():
            pairs = dispatch_all(repository)
            claimed = repository.transact(lambda c, p=pairs: claiming.claim(c, worker, p))  # type: ignore[misc]
            if claimed and drawn.random() < 0.33:
                self._end(claimed, keep=False)
                self.rolled_back += len(claimed)
            if claimed:
                self._end(claimed, keep=True)
            self.stopping.wait(0.05)

    def _end(self, claimed: list[Claimed], *, keep: bool) -> None:
        with self.farm.repository.engine.connect() as connection, connection.begin() as transaction:
            finishing.finish(connection, done(claimed))
            time.sleep(0.05)
            if not keep:
                transaction.rollback()

    def taken(self) -> int:
        """Deliveries that a receiver has taken, each counted once."""
        return len(self.receiver.taken_ids)


@pytest.fixture
def world(farm: Farm, repository: Repository, tmp_path: Path) -> Iterator[World]:
    judge = Judge(repository)
    with receiving(judge) as receiver:
        made = World(farm, receiver, judge, tmp_path)
        try:
            yield made
        finally:
            made.stopping.set()


@pytest.mark.parametrize(
    ("jobs", "kills"), [(30, 5), pytest.param(1_000, 50, marks=pytest.mark.long)], ids=["300", "10000"]
)
def test_every_delivery_comes_while_api_and_deliverers_are_killed(
    world: World, jobs: int, kills: int
) -> None:
    total, names = jobs * RECEIVERS, ("one", "api", "two")
    for name in names:
        world.start(name)
    with Client(world.farm.url, retry_s=60.0) as client:
        assert client.webhooks.all() == []
        hooks = {}
        for number in range(RECEIVERS):
            path = f"/mixed/{number}"
            made = client.webhooks.create(world.receiver.url(path))
            hooks[path], world.judge.secrets[path] = str(made.id), made.secret
    threads = [threading.Thread(target=work) for work in (partial(world.hand_in, jobs), world.end)]
    for thread in threads:
        thread.start()
    started = time.monotonic()
    try:
        for number in range(kills):
            until(
                f"kill {number}",
                lambda n=number: world.taken() >= (n + 1) * total // (kills + 2),  # type: ignore[misc]
                600,
            )
            world.kill(names[number % 3])
        until("all are delivered", partial(_delivered, world, total), 600)
    finally:
        world.stopping.set()
        for thread in threads:
            thread.join()
    seconds = time.monotonic() - started
    requests = _judge(world, total)
    again = _replay(world, hooks["/mixed/0"], jobs)
    told = {"deliveries": total, "kills": kills, "requests": requests, "replayed": again, "s": round(seconds)}
    manners = Counter(world.receiver.manners)
    print(json.dumps(told | {"rolled_back": world.rolled_back, "manners": manners}))  # noqa: T201


def _delivered(world: World, total: int) -> bool:
    time.sleep(0.2)
    return world.farm.count(f"{COUNT} WHERE state = 'delivered'") == total


def _judge(world: World, total: int) -> int:
    """What must hold; how many requests there were."""
    assert world.judge.wrong == []
    rows: list[Any] = world.farm.repository.transact(
        lambda c: list(c.execute(text("SELECT id, job_id, webhook_id, tries, claims FROM deliveries")))
    )
    assert len(rows) == total
    assert len({(row.job_id, row.webhook_id) for row in rows}) == total, "one for each receiver of each job"
    got = list(world.receiver.got)
    by_id: dict[str, set[tuple[str, bytes]]] = defaultdict(set)
    for one in got:
        by_id[one.id].add((one.path, one.body))
    assert set(by_id) == {f"msg_{row.id.hex}" for row in rows}, "nothing that was rolled back was told"
    assert world.receiver.taken_ids == set(by_id), "each was taken"
    assert max(len(found) for found in by_id.values()) == 1, "an id is one message for one receiver"
    told = {(path, json.loads(body)["data"]["id"]) for ((path, body),) in by_id.values()}
    assert len(told) == total
    assert world.judge.verified == len(got)
    assert len(got) > total, "some were tried more than once"
    return len(got)


def _replay(world: World, hook: str, jobs: int) -> int:
    """Everything of one receiver comes again, under the ids of before."""
    before = Counter(one.id for one in world.receiver.at("/mixed/0"))
    with Client(world.farm.url, retry_s=60.0) as client:
        made = client.webhooks.get(hook).created_at
        assert client.webhooks.replay_range(hook, since=made, state=None) == jobs
    until("replayed", partial(_delivered, world, jobs * RECEIVERS), 300)
    after = Counter(one.id for one in world.receiver.at("/mixed/0"))
    assert set(after) == set(before)
    assert all(after[one] > before[one] for one in before)
    assert world.judge.wrong == []
    return jobs
