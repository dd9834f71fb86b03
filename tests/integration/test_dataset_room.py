"""A tenant's limit of waiting renders holds for datasets: they come in as there is room, and nothing is lost."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

import pytest

from latentfarm.dataset_progress import look
from latentfarm.datasets import Datasets
from latentfarm.errors import TooMuchQueued
from latentfarm.ids import new_id
from latentfarm.registry import load_registry
from latentfarm.repository import phases, tenants
from latentfarm.states import Stage
from scheduler.arrivals import Arrivals
from tests.conftest import ROOT
from tests.integration.seeding import Ground

if TYPE_CHECKING:
    from latentfarm.repository.facade import Repository
    from latentfarm.storage import S3Store


@pytest.fixture
def ground(repository: Repository, store: S3Store) -> Ground:
    return Ground(repository, store)


def come_in(ground: Ground) -> None:
    """As much of all datasets as there is room for."""
    registry = load_registry(ROOT / "models" / "models.toml")
    datasets = Datasets(ground.repository, ground.store, registry, new_id)
    arrivals = Arrivals(ground.repository, ground.store, datasets)
    for dataset in ground.repository.transact(lambda c: phases.busy(c, "inserting")):
        while arrivals.insert(dataset):
            pass


def limit(ground: Ground, most: int | None) -> None:
    ground.repository.transact(lambda c: tenants.change(c, "", {"max_queued": most}))


def state(ground: Ground) -> tuple[int, str, str]:
    """Images that came in, the phase, and why no more do."""
    seen = ground.repository.transact(lambda c: look(c, "balls", tenant=""))
    assert seen is not None
    return seen.dataset.inserted, seen.dataset.phase, seen.held


def test_a_dataset_larger_than_the_limit_comes_in_as_there_is_room(ground: Ground) -> None:
    limit(ground, 20)
    ground.create(50)
    told = "18 renders of the tenant wait already, and 20 may: more come in as these begin"
    assert state(ground) == (18, "inserting", told)
    seen = set[int]()
    while state(ground)[1] == "inserting":
        before = len(seen)
        seen |= set(ground.render())
        assert len(seen) > before
        come_in(ground)
        assert len(ground.rows("SELECT FROM renders WHERE state = 0 AND stage = 0")) <= 18
    assert state(ground) == (50, "inserted", "")
    seen |= set(ground.render())
    assert seen == set(range(50))


def test_it_comes_in_by_a_tenth_of_the_limit_at_least(ground: Ground) -> None:
    limit(ground, 20)
    ground.create(50)
    ground.repository.pick(
        next(q for q in ground.repository.queues() if q.stage is Stage.BASE), window_per_worker=1
    )
    come_in(ground)
    assert state(ground)[0] == 18
    ground.repository.pick(
        next(q for q in ground.repository.queues() if q.stage is Stage.BASE), window_per_worker=2
    )
    come_in(ground)
    assert state(ground)[0] == 20


def test_a_paused_dataset_does_not_pass_the_limit(ground: Ground) -> None:
    limit(ground, 20)
    dataset = ground.create(50)
    ground.repository.pause_job(dataset, tenant="", paused=True)
    come_in(ground)
    assert state(ground)[:2] == (18, "inserting")
    limit(ground, None)
    come_in(ground)
    assert state(ground) == (50, "inserted", "")


def test_a_new_dataset_is_refused_when_nothing_more_may_wait(ground: Ground) -> None:
    ground.create(10)
    limit(ground, 10)
    with pytest.raises(TooMuchQueued, match="10 renders wait already, and 10 may"):
        ground.create(5, name="other")
    assert ground.rows("SELECT name FROM datasets") == [("balls",)]
    ground.create(12)
    assert state(ground)[:2] == (10, "inserting")


def test_datasets_that_wait_for_room_keep_nobody_else_waiting(
    ground: Ground, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(phases, "AT_ONCE", 2)
    monkeypatch.setattr("scheduler.arrivals.LOOK_S", 0.05)
    ground.repository.transact(lambda c: tenants.change(c, "full", {"max_queued": 1}))
    registry = load_registry(ROOT / "models" / "models.toml")
    datasets = Datasets(ground.repository, ground.store, registry, new_id)
    for name in ("first", "second"):
        datasets.create(ground.request(3, name=name), tenant="full")
    datasets.create(ground.request(3), tenant="")
    arrivals = Arrivals(ground.repository, ground.store, datasets)
    arrivals.start()
    try:
        end = time.monotonic() + 60
        while state(ground)[1] == "inserting":
            assert time.monotonic() < end
            time.sleep(0.02)
    finally:
        arrivals.stop()
        arrivals.join(30)
    names = "SELECT name, phase FROM datasets ORDER BY id"
    assert ground.rows(names) == [("first", "inserting"), ("second", "inserting"), ("balls", "inserted")]
