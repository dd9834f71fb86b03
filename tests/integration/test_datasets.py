"""A dataset from its manifest to its end, in SQL: rows come in, shards fill, are packed, and end the job."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from pydantic import ValidationError

from latentfarm.errors import Conflict, InvalidInput, ManifestChanged, ManifestError
from latentfarm.manifests.reading import inline_rows
from latentfarm.manifests.request import ManifestSource
from latentfarm.repository import repairing, retrying, sets
from latentfarm.states import Stage
from latentfarm.verify.trouble import Kind
from latentfarm.verify.verifier import Verifier
from tests.acceptance.farm import until
from tests.integration.ground import Ground

if TYPE_CHECKING:
    from latentfarm.repository.facade import Repository
    from latentfarm.storage import S3Store
    from latentfarm.verify.trouble import Trouble


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
    assert ground.progress() == sets.Progress(
        ended=7, failed=0, packed=7, seconds=0.0, redrawn=0, sealed=3, shards=3
    )
    assert not ground.rows("SELECT FROM objects WHERE state = 'visible' AND kind = 'image'")
    # The top's is -2; a thousand lower begin the shards'. None may be that of an image.
    ordinals = ground.rows("SELECT ordinal FROM renders WHERE stage = 2 ORDER BY ordinal DESC")
    assert ordinals == [(-2,), (-1002,), (-2002,), (-3002,)]
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


def test_a_top_that_cannot_be_written_is_written_by_a_retry(ground: Ground) -> None:
    ground.create(_prompts(2))
    ground.come_in()
    ground.finish(ground.claim(Stage.BASE))
    ground.seal()
    ground.fail(ground.claim(Stage.SEAL))
    dataset = ground.dataset()
    assert dataset.state == "failed"
    assert ground.repository.transact(lambda c: retrying.retry_failed(c, dataset.id)) == 1
    assert [task.number for task in ground.seal()] == [-1]
    assert ground.dataset().state == "succeeded"


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


def test_verify_reads_the_files_of_datasets(ground: Ground) -> None:
    dataset_id = ground.create(_prompts(2))
    ground.come_in()
    ground.finish(ground.claim(Stage.BASE))
    ref = ground.store.put(f"v1/datasets/{dataset_id}/data/train-000000.tar", b"a shard", "application/x-tar")
    told = {"path": "data/train-000000.tar", "key": ref.key, "size": ref.size, "sha256": ref.sha256.hex()}
    ground.seal(told)
    found: list[Trouble] = []

    def verify() -> list[str]:
        found.clear()
        quiet = Verifier(ground.repository, ground.store, 600.0, False, found.append, lambda _: None)
        quiet.jobs([dataset_id])
        # Other tests put objects of renders with the same ids into this bucket.
        return [trouble.kind.value for trouble in found if trouble.kind is not Kind.STRAY]

    assert verify() == []
    ground.store.put(ref.key, b"a sharp", "application/x-tar")
    assert verify() == ["altered"]
    ground.store.delete([ref.key])
    assert verify() == ["missing"]


def test_a_continuation_that_is_asked_for_twice_is_made_once(ground: Ground) -> None:
    """Both have seen the dataset as it was; the second one comes when the first one's rows are in."""
    ground.create(_prompts(4))
    ground.come_in()
    seen = ground.dataset()
    ground.create(_prompts(8))
    ground.come_in()
    request = ground.request(_prompts(8))
    with pytest.raises(Conflict):
        ground.datasets.take(seen, request, inline_rows(request.manifest), tell=lambda _: None)
    assert ground.rows("SELECT count(*) FROM renders WHERE ordinal >= 0") == [(8,)]
    assert ground.rows("SELECT count(*), sum(count) FROM shards WHERE number >= 0") == [(4, 8)]


def test_a_manifest_of_a_cancelled_dataset_comes_to_nothing(ground: Ground) -> None:
    dataset_id = ground.create(_prompts(4))
    ground.come_in()
    seen = ground.dataset()
    ground.repository.mark_cancelled(dataset_id, tenant="")
    ground.repository.cancel_renders(dataset_id)
    request = ground.request(_prompts(8))
    for found, error in ((seen, Conflict), (ground.dataset(), InvalidInput)):  # the latter ends it
        with pytest.raises(error):
            ground.datasets.take(found, request, inline_rows(request.manifest), tell=lambda _: None)
    assert ground.rows("SELECT count(*) FROM renders WHERE ordinal >= 0") == [(4,)]
    assert ground.dataset().state == "cancelled"


def test_one_ruined_manifest_keeps_no_other_from_its_turn(ground: Ground) -> None:
    files = {"ruined": b"prompt,\0x\na,b\n", "good": b"prompt\na bird\n"}
    for name, data in files.items():
        ground.store.put(f"mine/{name}.csv", data, "text/csv")
        ground.create([], name=name, manifest={"key": f"mine/{name}.csv"})
    ground.arrivals.start()
    try:
        checking = "SELECT count(*) FROM datasets WHERE phase = 'checking'"
        until("both were read", lambda: ground.rows(checking) == [(0,)])
        until(
            "rows are in",
            lambda: ground.rows("SELECT phase FROM datasets WHERE name = 'good'") == [("inserted",)],
        )
    finally:
        ground.arrivals.stop()
        ground.arrivals.join(20)
    assert ground.rows("SELECT phase FROM datasets WHERE name = 'ruined'") == [("rejected",)]


@pytest.mark.parametrize(
    "key", ["v1/uploads/1", "/v1/uploads/1", "a//b", "a/../v1/uploads/1", "a\0b", "é" * 600]
)
def test_no_key_leads_to_what_the_farm_keeps(key: str) -> None:
    with pytest.raises(ValidationError):
        ManifestSource(key=key)
