"""Manifests of several tenants at once: none waits for another one's, and memory stays bounded."""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING, Any

import pytest

from latentfarm.datasets import Datasets
from latentfarm.ids import new_id
from latentfarm.registry import load_registry
from latentfarm.repository import sets
from scheduler.arrivals import CHECKERS, Arrivals
from tests.acceptance.farm import until
from tests.integration.ground import MODELS, Ground

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

    from latentfarm.manifests.request import DatasetRequest
    from latentfarm.manifests.row import Row
    from latentfarm.repository.facade import Repository
    from latentfarm.repository.sets import Dataset
    from latentfarm.storage import S3Store


class Slow(Datasets):
    """Reads the manifests of tenants whose name begins with `slow` until the gate is opened."""

    gate = threading.Event()
    begun: list[str]

    def take(
        self, dataset: Dataset, request: DatasetRequest, rows: Iterable[Row], *, tell: Callable[[int], None]
    ) -> None:
        self.begun.append(dataset.name)
        if dataset.tenant.startswith("slow"):
            tell(1_000)
            assert self.gate.wait(60)
        super().take(dataset, request, rows, tell=tell)


@pytest.fixture
def slow(repository: Repository, store: S3Store, monkeypatch: pytest.MonkeyPatch) -> Iterator[Slow]:
    """A scheduler's passes over slow manifests."""
    monkeypatch.setattr(Slow, "gate", threading.Event())
    monkeypatch.setattr(Slow, "begun", [], raising=False)
    datasets = Slow(repository, store, load_registry(MODELS), new_id)
    store.put("mine/two.txt", b"a bird\nanother\n", "text/plain")
    arrivals = Arrivals(repository, store, datasets)
    arrivals.start()
    yield datasets
    datasets.gate.set()
    arrivals.stop()
    arrivals.join(20)


def ask(slow: Slow, ground: Ground, name: str, tenant: str, **fields: Any) -> Callable[[], bool]:
    """Hands a manifest in; the answer tells whether its rows are all there."""
    request = ground.request([], name=name, manifest={"key": "mine/two.txt"}, **fields)
    slow.create(request, tenant=tenant)

    def is_in() -> bool:
        found = slow.repository.transact(lambda c: sets.find(c, name, tenant=tenant))
        assert found is not None
        return found.phase == "inserted"

    return is_in


def test_a_slow_manifest_holds_up_its_own_tenant_alone(
    slow: Slow, repository: Repository, store: S3Store
) -> None:
    ground = Ground(repository, store)
    ask(slow, ground, "first", "slow")
    until("begun", lambda: slow.begun == ["first"])
    ask(slow, ground, "second", "slow")
    quick = [ask(slow, ground, f"quick{number}", "quick") for number in range(CHECKERS)]
    until("the quick ones are in", lambda: all(is_in() for is_in in quick))
    assert "second" not in slow.begun
    slow.gate.set()
    until("its turn", lambda: "second" in slow.begun)


def test_two_large_manifests_are_not_in_memory_at_once(
    slow: Slow, repository: Repository, store: S3Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("scheduler.turns.LARGE", 1)
    ground = Ground(repository, store)
    first = ask(slow, ground, "first", "slow")
    until("begun", lambda: slow.begun == ["first"])
    second = ask(slow, ground, "second", "quick")
    until("begun", lambda: slow.begun == ["first", "second"])
    assert not second()
    slow.gate.set()
    until("both are in", lambda: first() and second())
    assert slow.begun == ["first", "second", "second"]
