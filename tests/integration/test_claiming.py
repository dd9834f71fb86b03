"""What a claim brings, and whom it tells that there is room."""

from __future__ import annotations

from typing import TYPE_CHECKING

import psycopg
import pytest

from latentfarm.database import CHANNEL_WORK
from latentfarm.errors import ErrorClass
from latentfarm.ids import new_id
from latentfarm.repository import claiming, dispatching
from latentfarm.spec import RenderSpec
from latentfarm.states import Lane
from tests.integration.device import Device, column

if TYPE_CHECKING:
    from latentfarm.repository.facade import Repository
    from latentfarm.settings import Settings


def add(repository: Repository, prompt: str, n: int, lane: Lane = Lane.BULK) -> list[int]:
    job = new_id()
    spec = RenderSpec(prompt=prompt, width=64, height=64, num_images=n, seed=1, lane=lane)
    repository.add_job(job, spec, tenant="")
    return column(repository, "SELECT id FROM renders WHERE job_id = :job ORDER BY id", job=job)


def test_each_render_comes_with_the_spec_of_its_own_job(repository: Repository) -> None:
    device = Device(repository)
    circles, squares = add(repository, "a circle", 3), add(repository, "a square", 2)
    claimed = device.claim(*circles, *squares)
    found = {item.render_id: item.picture["prompt"] for item in claimed}
    assert found == dict.fromkeys(circles, "a circle") | dict.fromkeys(squares, "a square")
    specs = {item.render_id: item.spec_id for item in claimed}
    stored = column(repository, "SELECT spec_id FROM renders ORDER BY id")
    assert [specs[render] for render in sorted(specs)] == stored


def test_a_spec_comes_though_the_first_that_has_it_is_left_to_others(repository: Repository) -> None:
    device = Device(repository, "cuda:0")
    Device(repository, "cuda:1")
    first, *others = add(repository, "a circle", 3)
    device.fail(ErrorClass.NON_FINITE, first)
    claimed = device.claim(first, *others)
    assert [(item.render_id, item.picture["prompt"]) for item in claimed] == [
        (render, "a circle") for render in others
    ]


@pytest.mark.parametrize(
    ("lane", "is_low", "tells"),
    [(Lane.BULK, True, True), (Lane.BULK, False, False), (Lane.INTERACTIVE, False, True)],
)
def test_the_scheduler_is_told_of_room_when_it_is_wanted(
    repository: Repository, settings: Settings, *, lane: Lane, is_low: bool, tells: bool
) -> None:
    device = Device(repository)
    add(repository, "a circle", 2, lane)
    (queue,) = repository.queues()
    pairs = [(pick.render_id, pick.fence) for pick in repository.pick(queue, window_per_worker=10).picks]
    url = settings.database_url.replace("+psycopg", "", 1)
    with psycopg.connect(url, autocommit=True) as ear:
        ear.execute(f"LISTEN {CHANNEL_WORK}")
        repository.transact(lambda c: claiming.claim(c, device.worker, pairs, is_low=is_low))
        heard = [note.payload for note in ear.notifies(timeout=1, stop_after=1)]
    assert heard == ([str(queue.id)] if tells else [])


def test_a_queue_waits_while_something_in_it_is_queued(repository: Repository) -> None:
    Device(repository)
    add(repository, "a circle", 2)
    (queue,) = repository.queues()
    assert repository.transact(dispatching.waiting_queues, single=True) == [queue]
    repository.pick(queue, window_per_worker=10)
    assert repository.transact(dispatching.waiting_queues, single=True) == []
