"""What may come between a packer that wants images again and their next seed: nothing is lost, nothing is done twice."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from latentfarm.redraws import Redraw
from latentfarm.repository import cancelling, retrying
from latentfarm.states import Stage
from tests.integration.redrawers import AGAIN, Redrawers, image
from tests.integration.seeding import SEED
from worker.committer import Committer

if TYPE_CHECKING:
    from uuid import UUID

    from latentfarm.repository.facade import Repository
    from latentfarm.storage import S3Store


@pytest.fixture
def ground(repository: Repository, store: S3Store) -> Redrawers:
    return Redrawers(repository, store)


@pytest.mark.parametrize("committed", [True, False])
def test_a_packer_that_dies_around_the_commit_leaves_it_whole(ground: Redrawers, committed: bool) -> None:
    ground.create(5, quality=AGAIN)
    ground.render(image=image)
    worker = ground.worker(Stage.SEAL)
    (claimed,) = ground.claim(worker, Stage.SEAL)
    wanted = ground.look(claimed)
    assert isinstance(wanted, Redraw)
    if committed:
        assert ground.send_back(wanted)
    ground.repository.end_worker(worker, "killed")
    ground.check()
    if not committed:
        assert not ground.send_back(wanted), "its fence is over"
        assert ground.send_back(ground.wanted()[1])
    assert not ground.send_back(wanted), "once"
    ground.check()
    assert ground.tries() == [(2, 1, SEED + 2, ["dark"])]
    ground.render()
    assert [one.images for one in ground.seal_all()] == [5, 0]
    assert ground.rows("SELECT tries, starts FROM renders WHERE ordinal = -1002") == [(0, 1)]
    ground.check()


def test_a_cancel_that_was_marked_before_ends_all(ground: Redrawers) -> None:
    """Else images would go back to a queue that nobody looks at any more."""
    dataset = ground.create(5, quality=AGAIN)
    ground.render(image=image)
    _, wanted = ground.wanted()
    assert ground.repository.transact(lambda c: cancelling.mark_cancelled(c, dataset, tenant=""))
    assert ground.send_back(wanted)
    ground.repository.transact(lambda c: cancelling.cancel_renders(c, dataset))
    assert not ground.rows("SELECT FROM renders WHERE state < 3")
    assert not ground.tries()
    assert ground.job() == "cancelled"


def test_a_cancel_that_comes_after_finds_what_went_back(ground: Redrawers) -> None:
    dataset = ground.create(5, quality=AGAIN)
    ground.render(image=image)
    assert ground.send_back(ground.wanted()[1])
    _cancel(ground, dataset)
    assert ground.rows("SELECT ordinal FROM renders WHERE state = 5") == [(2,)]
    assert ground.rows("SELECT number, state FROM shards ORDER BY 1") == [(-1, "cancelled"), (0, "cancelled")]
    assert ground.rows("SELECT state, queued, remaining FROM jobs") == [("cancelled", 0, 0)]


def test_a_cancel_that_came_first_leaves_nothing_to_give_back(ground: Redrawers) -> None:
    dataset = ground.create(5, quality=AGAIN)
    ground.render(image=image)
    _, wanted = ground.wanted()
    _cancel(ground, dataset)
    assert not ground.send_back(wanted)
    assert not ground.tries()


def _cancel(ground: Redrawers, dataset: UUID) -> None:
    ground.repository.transact(lambda c: cancelling.mark_cancelled(c, dataset, tenant=""))
    ground.repository.transact(lambda c: cancelling.cancel_renders(c, dataset))


@pytest.mark.parametrize("retried_first", [True, False])
def test_a_retry_of_failed_images_may_come_between(ground: Redrawers, retried_first: bool) -> None:
    dataset = ground.create(5, quality=AGAIN)
    ground.render(failed=[4], image=image)
    _, wanted = ground.wanted()

    def retry() -> bool:
        return ground.repository.transact(lambda c: retrying.retry_failed(c, dataset)) == 1

    def send_back() -> bool:
        return ground.send_back(wanted)

    steps = (retry, send_back) if retried_first else (send_back, retry)
    for step in steps:
        assert step()
        ground.check()
    assert sorted(ground.render()) == [2, 4]
    done = ground.seal_all()
    # Retried first, the failed one had left for a supplement: its shard was full.
    assert sorted(one.images for one in done) == ([0, 1, 4] if retried_first else [0, 5])
    ground.check()
    assert ground.job() == "succeeded"
    assert ground.rows("SELECT count(*) FROM renders WHERE ordinal >= 0 AND state = 3") == [(5,)]


def test_a_continuation_may_come_between(ground: Redrawers) -> None:
    ground.create(5, quality=AGAIN)
    ground.render(image=image)
    _, wanted = ground.wanted()
    ground.create(8, quality=AGAIN)
    assert ground.send_back(wanted)
    ground.check()
    assert sorted(ground.render()) == [2, 5, 6, 7]
    assert [one.images for one in ground.seal_all()] == [5, 3, 0]
    ground.check()
    assert ground.job() == "succeeded"


def test_a_new_seed_that_fails_leaves_the_image_out_by_name(ground: Redrawers) -> None:
    ground.create(5, quality=AGAIN)
    ground.render(image=image)
    assert ground.send_back(ground.wanted()[1])
    ground.render(failed=[2])
    ground.check()
    packed = ground.seal_all()[0]
    assert [(one["ordinal"], one["outcome"]) for one in ground.stats(packed)["missing"]] == [(2, "failed")]
    assert ground.job() == "failed"


def test_a_shard_that_was_opened_meanwhile_is_left_alone(ground: Redrawers) -> None:
    """By a repair: it is packed anew, and looked at then."""
    ground.create(5, quality=AGAIN)
    ground.render(image=image)
    _, wanted = ground.wanted()
    ground.rows("UPDATE shards SET state = 'open', remaining = 1 WHERE number = 0 RETURNING 1")
    assert ground.send_back(wanted)
    assert not ground.tries()
    assert ground.rows("SELECT remaining FROM shards WHERE number = 0") == [(1,)]


def test_the_committer_of_a_worker_writes_it(ground: Redrawers) -> None:
    ground.create(5, quality=AGAIN)
    ground.render(image=image)
    claimed, wanted = ground.wanted()
    committer = Committer(ground.repository)
    committer.start()
    try:
        assert committer.redraw(wanted).result(60) == {(claimed.render_id, claimed.fence)}
        assert committer.redraw(wanted).result(60) == set()
    finally:
        committer.close(60)
    assert ground.tries() == [(2, 1, SEED + 2, ["dark"])]


def test_a_seal_that_was_given_back_is_charged_nothing(ground: Redrawers) -> None:
    ground.create(5, quality=AGAIN)
    ground.render(image=image)
    claimed, wanted = ground.wanted()
    assert ground.send_back(wanted)
    told = ground.rows(
        "SELECT outcome, charged, error_class FROM attempts WHERE render_id = :id", id=claimed.render_id
    )
    assert told == [("released", False, None)]
    assert ground.rows("SELECT tries, owner FROM renders WHERE id = :id", id=claimed.render_id) == [(0, None)]
