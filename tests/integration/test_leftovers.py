"""What datasets leave in the bucket beside their files goes, once they rest; of those whose time is over, all goes."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from sqlalchemy import text

from latentfarm.errors import Ended
from latentfarm.ids import new_id
from latentfarm.keys import dataset_prefix, spool_prefix
from latentfarm.repository import cancelling, retaining, retrying
from latentfarm.storage import S3Store
from latentfarm.verify.strays import PREFIXES, Strays
from scheduler.tidying import Tidying
from tests.integration.packers import Packers
from tests.integration.verifying import ANY_AGE, own_bucket

if TYPE_CHECKING:
    from collections.abc import Sequence
    from uuid import UUID

    from latentfarm.repository.facade import Repository
    from latentfarm.settings import Settings


class Watched(S3Store):
    """Remembers what was deleted, request by request."""

    requests: list[list[str]]

    def delete(self, keys: Sequence[str]) -> None:
        self.requests.append(list(keys))
        super().delete(keys)


@pytest.fixture
def watched(settings: Settings) -> Watched:
    store = Watched.from_settings(settings)
    assert isinstance(store, Watched)
    store.requests = []
    return store


@pytest.fixture
def ground(repository: Repository, store: S3Store) -> Packers:
    return Packers(repository, store)


def sweep(ground: Packers, store: S3Store | None = None, *, after_s: float = 0.0) -> list[str]:
    """Until nothing more is done."""
    tidying, told = Tidying(store or ground.store, after_s), list[str]()
    while did := ground.repository.transact(tidying.sweep):
        told.append(did)
    return told


def files(ground: Packers, dataset: UUID) -> set[str]:
    return set(ground.store.list_keys(dataset_prefix(dataset)))


def spool(ground: Packers, dataset: UUID) -> list[str]:
    return list(ground.store.list_keys(spool_prefix(dataset)))


def told_of(ground: Packers) -> set[str]:
    found = "SELECT f ->> 'key' FROM shards, jsonb_array_elements(files) AS f"
    top = "SELECT f ->> 'key' FROM datasets, jsonb_array_elements(published) AS f"
    return {str(row[0]) for row in ground.rows(f"{found} UNION {top}")}


def mark(ground: Packers) -> None:
    """Its time is over; and a later sweep."""
    ground.rows("UPDATE jobs SET finished_at = finished_at - interval '25 hours' RETURNING 1")
    assert ground.repository.transact(lambda c: retaining.mark_due(c, limit=10)) == 1
    ground.repository.transact(lambda c: retaining.clear_marked(c, limit=10))


def test_old_tops_lost_files_and_the_spool_go_and_nothing_else(ground: Packers) -> None:
    dataset = ground.create(25)
    ground.render()
    ground.seal_all()
    ground.create(31)
    ground.render()
    ground.store.put(f"{dataset_prefix(dataset)}data/train-000007.f9.tar", b"of a dead attempt", "x/x")
    assert sweep(ground) == []  # it is at work
    ground.seal_all()
    assert ground.job() == "succeeded"
    assert len(spool(ground, dataset)) == 2  # one part has grown, and has another name
    assert sweep(ground) == ["forgot 1 spools", "deleted 6 leftovers"]
    assert files(ground, dataset) == told_of(ground)
    assert len(told_of(ground)) == 3 * 5 + 3
    assert spool(ground, dataset) == []
    assert ground.rows("SELECT untidy_since, tidied_to FROM datasets") == [(None, "")]


def test_a_dataset_must_have_rested(ground: Packers) -> None:
    ground.create(5)
    ground.render()
    ground.seal_all()
    assert sweep(ground, after_s=600) == []
    ground.rows("UPDATE datasets SET untidy_since = now() - interval '1 hour' RETURNING 1")
    assert sweep(ground, after_s=600) == []
    ground.rows("UPDATE jobs SET finished_at = now() - interval '1 hour' RETURNING 1")
    assert sweep(ground, after_s=600) == ["forgot 1 spools", "deleted 1 leftovers"]


def test_what_can_be_tried_again_keeps_its_spool(ground: Packers) -> None:
    dataset = ground.create(12)
    ground.render(failed=[3])
    ground.seal_all()
    assert ground.job() == "failed"
    assert sweep(ground) == []
    assert len(spool(ground, dataset)) == 1
    assert ground.repository.transact(lambda c: retrying.retry_failed(c, dataset)) == 1
    ground.render()
    ground.seal_all()
    assert ground.job() == "succeeded"
    assert sweep(ground)[0] == "forgot 1 spools"
    assert spool(ground, dataset) == []
    # Rows that are appended bring the spool along.
    ground.create(15)
    ground.render()
    assert sum(one.images for one in ground.seal_all()) == 3
    sweep(ground)
    assert files(ground, dataset) == told_of(ground)


def test_the_same_manifest_again_leaves_nothing(ground: Packers) -> None:
    dataset = ground.create(5)
    ground.render()
    ground.seal_all()
    sweep(ground)
    assert ground.create(5) == dataset
    assert len(spool(ground, dataset)) == 1
    assert sweep(ground) == ["deleted 1 leftovers"]


def test_a_sweep_that_dies_is_repeated(ground: Packers) -> None:
    dataset = ground.create(5)
    ground.render()
    ground.seal_all()
    tidying = Tidying(ground.store, 0.0)
    ground.repository.transact(tidying.sweep)
    with ground.repository.engine.connect() as dying:
        assert tidying.sweep(dying) == "deleted 1 leftovers"
        dying.rollback()
    assert spool(ground, dataset) == []
    assert sweep(ground) == []
    assert files(ground, dataset) == told_of(ground)
    assert ground.rows("SELECT untidy_since FROM datasets") == [(None,)]


def test_whoever_goes_on_waits_for_the_sweep(ground: Packers) -> None:
    """Else a part of the spool could be deleted that was put a moment ago."""
    ground.create(5)
    ground.render()
    ground.seal_all()
    tidying = Tidying(ground.store, 0.0)
    ground.repository.transact(tidying.sweep)
    with ground.repository.engine.begin() as sweeping:
        tidying.sweep(sweeping)
        with ground.repository.engine.connect() as late:
            late.execute(text("SET LOCAL lock_timeout = '200ms'"))
            with pytest.raises(Exception, match="lock timeout"):
                late.execute(text("UPDATE datasets SET untidy_since = now()"))


def test_of_a_dataset_whose_time_is_over_the_manifest_goes_first(ground: Packers, watched: Watched) -> None:
    dataset = ground.create(25, retain_days=1)
    ground.render()
    top = [file["key"] for file in ground.seal_all()[-1].files]
    mark(ground)
    assert len(files(ground, dataset)) == 3 * 3 + 3
    told = sweep(ground, watched)
    assert told == ["forgot 1 spools", "deleted 10 leftovers"]
    assert watched.requests[0] == top
    assert files(ground, dataset) == set(spool(ground, dataset)) == set()
    # The records stay.
    assert ground.rows("SELECT count(*) FROM shards WHERE state = 'sealed'") == [(4,)]
    assert ground.rows("SELECT count(*) FROM renders") == [(25 + 4,)]
    assert len(told_of(ground)) == 3 * 3 + 3
    with pytest.raises(Ended, match="are gone since"):
        ground.create(30, retain_days=1)
    with pytest.raises(Ended, match="are gone since"):
        ground.repository.transact(lambda c: retrying.retry_failed(c, dataset))


def test_what_is_of_no_dataset_is_a_stray(ground: Packers, settings: Settings) -> None:
    """An API that dies before it has stored the dataset leaves the spool of one that never was."""
    own = S3Store.from_settings(own_bucket(settings))
    mine = Packers(ground.repository, own)
    dataset = mine.create(5)
    lost = f"v1/spool/{new_id()}/000000-0123456789abcdef.gz"
    own.put(lost, b"x", "x/x")
    found = Strays(ground.repository, own, ANY_AGE, delete=True)
    assert [one.key for prefix in PREFIXES for one in found.under(prefix)] == [lost]
    assert list(own.list_keys("v1/spool/")) == list(own.list_keys(spool_prefix(dataset)))


def test_images_that_were_never_packed_go_too(ground: Packers) -> None:
    dataset = ground.create(25, retain_days=1)
    ground.render()
    ground.repository.transact(lambda c: cancelling.mark_cancelled(c, dataset, tenant=""))
    ground.repository.transact(lambda c: cancelling.cancel_renders(c, dataset))
    assert ground.job() == "cancelled"
    mark(ground)
    assert ground.rows("SELECT state, count(*) FROM objects GROUP BY state") == [("going", 25)]
    assert ground.rows("SELECT clear_from FROM jobs") == [(None,)]


def test_many_images_are_looked_at_in_turns(ground: Packers, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(retaining, "WINDOW", 10)
    dataset = ground.create(25, retain_days=1)
    ground.render()
    ground.repository.transact(lambda c: cancelling.mark_cancelled(c, dataset, tenant=""))
    ground.repository.transact(lambda c: cancelling.cancel_renders(c, dataset))
    mark(ground)
    marked = [ground.repository.transact(lambda c: retaining.clear_marked(c, limit=10)) for _ in range(3)]
    assert marked == [10, 5, 0]
