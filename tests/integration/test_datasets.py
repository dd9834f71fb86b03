"""A dataset from its manifest to its end, in SQL: rows come in, shards fill, are packed, and end the job."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from sqlalchemy import text

from latentfarm.datasets import Datasets
from latentfarm.errors import Conflict, ErrorClass, ManifestChanged, ManifestError
from latentfarm.ids import new_id
from latentfarm.manifests.request import DatasetRequest
from latentfarm.records import Done, Failure
from latentfarm.registry import load_registry
from latentfarm.repository import claiming, failing, finishing, repairing, retrying, sealing, sets
from latentfarm.states import Stage
from scheduler.arrivals import Arrivals

if TYPE_CHECKING:
    from uuid import UUID

    from latentfarm.records import Claimed
    from latentfarm.repository.facade import Repository
    from latentfarm.storage import S3Store

MODELS = Path(__file__).parents[2] / "models" / "models.toml"


class Ground:
    """A farm without processes: the test does what each of them would."""

    def __init__(self, repository: Repository, store: S3Store) -> None:
        self.repository = repository
        self.store = store
        self.datasets = Datasets(repository, store, load_registry(MODELS), new_id)
        self.arrivals = Arrivals(repository, store, self.datasets)
        self.workers = {
            stage: repository.register(
                host="h", pid=1, device="cpu", stages=[stage], models=[model], lease_s=600
            )
            for stage, model in ((Stage.BASE, "tiny"), (Stage.SEAL, ""))
        }

    def create(self, prompts: list[str], **fields: Any) -> UUID:
        asked: dict[str, Any] = {
            "name": "birds",
            "manifest": {"prompts": prompts},
            "defaults": {"model": "tiny", "num_inference_steps": 4, "width": 64, "height": 64},
            "shard_samples": 3,
            "seed": 7,
        }
        request = DatasetRequest.model_validate_json(json.dumps(asked | fields))
        return self.datasets.create(request, tenant="")

    def come_in(self) -> None:
        for dataset in self.repository.transact(lambda c: sets.busy(c, "inserting")):
            self.arrivals.insert(dataset)

    def claim(self, stage: Stage, most: int = 1000) -> list[Claimed]:
        for queue in self.repository.queues():
            if queue.stage is stage:
                self.repository.pick(queue, window_per_worker=most)
        pairs = [
            tuple(row)
            for row in self.rows(f"SELECT id, fence FROM renders WHERE state = 1 AND stage = {int(stage)}")
        ]
        return self.repository.transact(lambda c: claiming.claim(c, self.workers[stage], pairs))

    def finish(self, claimed: list[Claimed]) -> None:
        done = [
            Done(one.render_id, one.fence, self.store.put(one.key, b"x", "image/png"), 4) for one in claimed
        ]
        self.repository.transact(lambda c: finishing.finish(c, done))

    def fail(self, claimed: list[Claimed]) -> None:
        told = [Failure(one.render_id, one.fence, ErrorClass.USER, "no such thing") for one in claimed]
        self.repository.transact(lambda c: failing.fail(c, told))

    def seal(self) -> list[sealing.Task]:
        return [self.seal_one(one) for one in self.claim(Stage.SEAL)]

    def seal_one(self, one: Claimed) -> sealing.Task:
        task = self.repository.transact(lambda c: sealing.task_of(c, one.render_id, one.fence))
        assert task is not None
        members = self.repository.transact(lambda c: sealing.members_of(c, task, task.first + 1000))
        packed = sealing.Packed(
            render_id=one.render_id,
            fence=one.fence,
            shard_id=task.shard_id,
            dataset_id=task.dataset_id,
            number=task.number,
            images=sum(member.ref is not None for member in members),
            seconds=0.0,
            files=({"path": "p", "key": "k", "size": 1, "sha256": "00"},),
        )
        assert self.repository.transact(lambda c: sealing.seal(c, [packed])) == {(one.render_id, one.fence)}
        return task

    def rows(self, sql: str) -> list[Any]:
        return list(self.repository.transact(lambda c: c.execute(text(sql)).all()))

    def dataset(self) -> sets.Dataset:
        found = self.repository.transact(lambda c: sets.find(c, "birds", tenant=""))
        assert found is not None
        return found

    def progress(self) -> sets.Progress:
        dataset = self.dataset()
        return self.repository.transact(lambda c: sets.progress(c, dataset.id))


@pytest.fixture
def ground(repository: Repository, store: S3Store) -> Ground:
    return Ground(repository, store)


def _prompts(count: int) -> list[str]:
    return [f"bird {number}" for number in range(count)]


def test_a_run_ends_once_every_shard_and_the_top_are_packed(ground: Ground) -> None:
    ground.create(_prompts(7))
    ground.come_in()
    assert ground.dataset().phase == "inserted"
    assert [row.seed for row in ground.rows("SELECT seed FROM renders ORDER BY ordinal")] == list(
        range(7, 14)
    )
    first, *rest = ground.claim(Stage.BASE)
    ground.finish(rest)
    # Shards 1 and 2 are full; the first one misses an image.
    assert sorted(task.number for task in ground.seal()) == [1, 2]
    assert ground.dataset().state == "running"
    ground.finish([first])
    assert [task.number for task in ground.seal()] == [0]
    assert ground.dataset().state == "running"
    assert [task.number for task in ground.seal()] == [-1]
    assert ground.dataset().state == "succeeded"
    assert ground.progress() == sets.Progress(ended=7, failed=0, packed=7, seconds=0.0, sealed=3, shards=3)
    assert not ground.rows("SELECT FROM objects WHERE state = 'visible' AND kind = 'image'")
    assert ground.rows("SELECT remaining, queued FROM jobs") == [(0, 0)]


def test_what_failed_is_left_out_and_can_be_tried_again(ground: Ground) -> None:
    ground.create(_prompts(5))
    ground.come_in()
    claimed = {one.ordinal: one for one in ground.claim(Stage.BASE)}
    ground.fail([claimed[1], claimed[4]])
    ground.finish([claimed[0], claimed[2], claimed[3]])
    ground.seal()
    ground.seal()
    dataset = ground.dataset()
    assert dataset.state == "failed"
    assert ground.progress().failed == 2
    before = ground.rows("SELECT id, fence, state FROM renders WHERE ordinal IN (0, 2, 3) ORDER BY id")
    assert ground.repository.transact(lambda c: retrying.retry_failed(c, dataset.id)) == 2
    assert ground.dataset().state == "running"
    assert ground.progress().ended == 3
    again = ground.claim(Stage.BASE)
    assert sorted(one.ordinal for one in again) == [1, 4]
    ground.finish(again)
    assert sorted((task.number, task.part) for task in ground.seal()) == [(0, 1), (1, 1)]
    assert [task.number for task in ground.seal()] == [-1]
    assert ground.dataset().state == "succeeded"
    assert (
        ground.rows("SELECT id, fence, state FROM renders WHERE ordinal IN (0, 2, 3) ORDER BY id") == before
    )
    assert ground.progress().packed == 5


def test_a_shard_that_cannot_be_packed_fails_the_run_and_is_packed_by_a_retry(ground: Ground) -> None:
    ground.create(_prompts(2))
    ground.come_in()
    ground.finish(ground.claim(Stage.BASE))
    ground.fail(ground.claim(Stage.SEAL))
    assert [task.number for task in ground.seal()] == [-1]
    dataset = ground.dataset()
    assert dataset.state == "failed"
    assert ground.repository.transact(lambda c: retrying.retry_failed(c, dataset.id)) == 1
    assert [task.number for task in ground.seal()] == [0]
    assert [task.number for task in ground.seal()] == [-1]
    assert ground.dataset().state == "succeeded"


def test_the_same_manifest_goes_on_and_a_longer_one_continues(ground: Ground) -> None:
    first = ground.create(_prompts(4))
    with pytest.raises(Conflict):
        ground.create(_prompts(4))
    ground.come_in()
    ground.finish(ground.claim(Stage.BASE))
    ground.seal()
    ground.seal()
    assert ground.create(_prompts(4)) == first
    assert ground.dataset().state == "succeeded"
    assert ground.create(_prompts(8)) == first
    ground.come_in()
    assert ground.dataset().state == "running"
    claimed = ground.claim(Stage.BASE)
    assert [one.ordinal for one in claimed] == [4, 5, 6, 7]
    assert [one.seed for one in claimed] == [11, 12, 13, 14]
    ground.finish(claimed)
    assert sorted((task.number, task.part) for task in ground.seal()) == [(1, 1), (2, 0)]
    ground.seal()
    assert ground.dataset().state == "succeeded"
    assert ground.progress().packed == 8


def test_other_parameters_and_other_rows_are_refused_with_the_difference(ground: Ground) -> None:
    ground.create(_prompts(4))
    ground.come_in()
    defaults = {"model": "tiny", "num_inference_steps": 5, "width": 64, "height": 64}
    with pytest.raises(ManifestChanged, match="num_inference_steps: 4 before, 5 now"):
        ground.create(_prompts(4), defaults=defaults)
    with pytest.raises(ManifestChanged, match="layout: webdataset before, parquet now"):
        ground.create(_prompts(4), layout="parquet")
    with pytest.raises(ManifestError):
        ground.create(["another", *_prompts(4)[1:]])
    with pytest.raises(ManifestError):
        ground.create(_prompts(3))
    assert ground.rows("SELECT count(*) FROM renders") == [(4,)]
    assert ground.dataset().images == 4


def test_an_error_stores_nothing(ground: Ground) -> None:
    before = set(ground.store.list_keys("v1/spool/"))
    with pytest.raises(ManifestError, match="line 2"):
        ground.create(["fine", "x" * 100_000])
    assert not ground.rows("SELECT FROM datasets")
    assert set(ground.store.list_keys("v1/spool/")) == before


def test_cancel_ends_everything_that_was_not_packed(ground: Ground) -> None:
    dataset_id = ground.create(_prompts(7))
    ground.come_in()
    claimed = {one.ordinal: one for one in ground.claim(Stage.BASE)}
    ground.finish([claimed[number] for number in (0, 1, 2)])
    ground.seal()
    assert ground.repository.mark_cancelled(dataset_id, tenant="")
    assert ground.repository.cancel_renders(dataset_id) == 4
    assert ground.dataset().state == "cancelled"
    ground.finish([claimed[3]])  # too late
    assert not ground.claim(Stage.SEAL)
    assert ground.rows("SELECT state, count(*) FROM shards GROUP BY 1 ORDER BY 1") == [
        ("cancelled", 3),
        ("sealed", 1),
    ]
    with pytest.raises(Conflict, match="cancelled"):
        ground.create(_prompts(7))


def test_rows_that_come_in_after_a_cancel_are_not_made(ground: Ground) -> None:
    dataset_id = ground.create(_prompts(4))
    ground.repository.mark_cancelled(dataset_id, tenant="")
    assert ground.repository.cancel_renders(dataset_id) == 0
    ground.come_in()
    assert ground.rows("SELECT count(*) FROM renders") == [(0,)]
    assert ground.dataset().state == "cancelled"


def test_an_image_that_was_lost_before_it_was_packed_is_made_again(ground: Ground) -> None:
    dataset_id = ground.create(_prompts(2))
    ground.come_in()
    ground.finish(ground.claim(Stage.BASE))
    ground.fail(ground.claim(Stage.SEAL))
    ground.seal()
    assert ground.dataset().state == "failed"
    lost = ground.rows("SELECT render_id, fence FROM objects WHERE state = 'visible' ORDER BY 1 LIMIT 1")[0]
    again = repairing.Again(lost.render_id, lost.fence, Stage.BASE)
    assert ground.repository.transact(lambda c: repairing.repair(c, dataset_id, [again])) == {lost.render_id}
    ground.finish(ground.claim(Stage.BASE))
    assert [task.number for task in ground.seal()] == [0]
    assert [task.number for task in ground.seal()] == [-1]
    assert ground.dataset().state == "succeeded"


def test_a_shard_that_was_opened_again_while_it_was_packed_counts_once(ground: Ground) -> None:
    dataset_id = ground.create(_prompts(2))
    ground.come_in()
    ground.finish(ground.claim(Stage.BASE))
    (packing,) = ground.claim(Stage.SEAL)
    lost = ground.rows("SELECT render_id, fence FROM objects WHERE state = 'visible' ORDER BY 1 LIMIT 1")[0]
    again = repairing.Again(lost.render_id, lost.fence, Stage.BASE)
    ground.repository.transact(lambda c: repairing.repair(c, dataset_id, [again]))
    ground.seal_one(packing)  # it was under way, and lacks the image
    assert not ground.claim(Stage.SEAL)
    ground.finish(ground.claim(Stage.BASE))
    assert [task.number for task in ground.seal()] == [0]
    assert ground.progress().packed == 2
    ground.seal()
    assert ground.dataset().state == "succeeded"
