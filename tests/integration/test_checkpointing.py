"""Checkpoints in SQL: fenced, handed out with the stage they belong to, and collected."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from sqlalchemy import text

from latentfarm.database import transact
from latentfarm.errors import ErrorClass
from latentfarm.keys import checkpoint_key
from latentfarm.records import Claimed, Failure, ObjectRef, Release, Saved
from latentfarm.repository import checkpointing, failing, finishing
from latentfarm.states import Stage
from scheduler.duties import Duties
from tests.integration.test_repository import claim, done, one, register, submit

if TYPE_CHECKING:
    from latentfarm.broker import Broker
    from latentfarm.messages import Pair
    from latentfarm.repository.facade import Repository
    from latentfarm.settings import Settings
    from latentfarm.storage import S3Store


def planned(claimed: Claimed, step: int, taken: int | None = None) -> Saved:
    return Saved(claimed.render_id, claimed.fence, step, step if taken is None else taken)


def put(item: Saved) -> Saved:
    key = checkpoint_key(item.render_id, item.fence, item.step)
    return Saved(item.render_id, item.fence, item.step, item.taken, ObjectRef(key, b"\1" * 32, 9))


def save(repository: Repository, claimed: Claimed, step: int) -> Saved:
    """As a worker does while the render goes on."""
    saved = planned(claimed, step)
    assert repository.transact(lambda c: checkpointing.plan(c, [saved])) == {pair(claimed)}
    assert repository.transact(lambda c: checkpointing.show(c, [put(saved)])) == {pair(claimed)}
    return put(saved)


def pair(claimed: Claimed) -> Pair:
    return claimed.render_id, claimed.fence


def released(repository: Repository, release: Release) -> None:
    assert repository.transact(lambda c: failing.give_back(c, [release])) == {
        (release.render_id, release.fence)
    }


def test_the_newest_visible_one_comes_with_the_claim(repository: Repository) -> None:
    submit(repository, 2, refine=False)
    worker = register(repository)
    first, second = claim(repository, worker)
    assert (first.checkpoint, second.checkpoint) == (None, None)
    save(repository, first, 3)
    newest = save(repository, first, 7)
    repository.transact(lambda c: checkpointing.plan(c, [planned(first, 9)]))
    repository.end_worker(worker, "died")
    again = claim(repository, register(repository))
    assert [item.checkpoint for item in again] == [newest.ref, None]
    assert all(item.alone for item in again), "a suspect goes on, too"


def test_what_the_last_owner_left_goes_first(repository: Repository) -> None:
    """It began anew because it could not use what it was given: then nobody else should be given that."""
    submit(repository, refine=False)
    for step in (8, 2):
        worker = register(repository)
        (claimed,) = claim(repository, worker)
        saved = save(repository, claimed, step)
        released(repository, Release(*pair(claimed)))
    (claimed,) = claim(repository, register(repository))
    assert claimed.checkpoint == saved.ref


def test_a_release_makes_what_was_put_visible(repository: Repository) -> None:
    submit(repository, refine=False)
    (claimed,) = claim(repository, register(repository))
    saved = planned(claimed, 5, taken=4)
    repository.transact(lambda c: checkpointing.plan(c, [saved]))
    released(repository, Release(*pair(claimed), 4, put(saved)))
    assert one(repository, "SELECT tries + starts FROM renders") == 0
    assert one(repository, "SELECT steps FROM attempts WHERE outcome = 'released'") == 4
    (again,) = claim(repository, register(repository))
    assert again.checkpoint == put(saved).ref


def test_a_superseded_worker_can_neither_plan_nor_show_nor_release(repository: Repository) -> None:
    submit(repository, refine=False)
    worker = register(repository)
    (stale,) = claim(repository, worker)
    repository.transact(lambda c: checkpointing.plan(c, [planned(stale, 3)]))
    repository.end_worker(worker, "lease expired")
    (fresh,) = claim(repository, register(repository))
    late = put(planned(stale, 3))
    assert repository.transact(lambda c: checkpointing.plan(c, [planned(stale, 4)])) == set()
    assert repository.transact(lambda c: checkpointing.show(c, [late])) == set()
    assert repository.transact(lambda c: failing.give_back(c, [Release(*pair(stale), 3, late)])) == set()
    assert one(repository, "SELECT string_agg(state || step, ',') FROM checkpoints") == "planned3"
    assert save(repository, fresh, 1).ref is not None


def test_the_same_step_may_be_planned_again(repository: Repository) -> None:
    submit(repository, refine=False)
    (claimed,) = claim(repository, register(repository))
    saved = save(repository, claimed, 3)
    assert repository.transact(lambda c: checkpointing.plan(c, [planned(claimed, 3)])) == {pair(claimed)}
    released(repository, Release(*pair(claimed), 3, saved))
    (again,) = claim(repository, register(repository))
    assert again.checkpoint == saved.ref


def test_a_death_tells_the_steps_that_are_known(repository: Repository) -> None:
    submit(repository, refine=False)
    worker = register(repository)
    (claimed,) = claim(repository, worker)
    repository.transact(lambda c: checkpointing.plan(c, [planned(claimed, 20, taken=6)]))
    repository.end_worker(worker, "died")
    assert one(repository, "SELECT steps FROM attempts WHERE outcome = 'lost'") == 6


def test_after_a_charged_death_it_starts_from_the_first_step(repository: Repository) -> None:
    """A state that kills whoever takes it up must not do so for ever."""
    submit(repository, refine=False)
    first = register(repository)
    (claimed,) = claim(repository, first)
    saved = save(repository, claimed, 7)
    repository.end_worker(first, "died")
    second = register(repository)
    (alone,) = claim(repository, second)
    assert alone.checkpoint == saved.ref
    repository.end_worker(second, "died")
    (charged,) = claim(repository, register(repository))
    assert one(repository, "SELECT tries FROM renders") == 1
    assert charged.checkpoint is None
    newer = save(repository, charged, 2)
    released(repository, Release(*pair(charged)))
    assert claim(repository, register(repository))[0].checkpoint == newer.ref


@pytest.mark.parametrize(
    ("error", "kept"), [(ErrorClass.TRANSIENT, True), (ErrorClass.NON_FINITE, False)], ids=str
)
def test_a_failure_that_is_charged_takes_the_states_along(
    repository: Repository, error: ErrorClass, *, kept: bool
) -> None:
    submit(repository, refine=False)
    (claimed,) = claim(repository, register(repository))
    save(repository, claimed, 7)
    repository.transact(lambda c: failing.fail(c, [Failure(*pair(claimed), error, "away")]))
    one(repository, "UPDATE renders SET due_at = now() RETURNING 1")
    (again,) = claim(repository, register(repository))
    assert (again.checkpoint is not None) == kept


def test_each_stage_has_its_own(repository: Repository) -> None:
    submit(repository)
    worker = register(repository)
    (base,) = claim(repository, worker)
    save(repository, base, 7)
    repository.transact(lambda c: finishing.hand_over(c, done([base])))
    (refine,) = claim(repository, worker)
    assert (refine.stage, refine.checkpoint) == (Stage.REFINE, None)


# The collector


@pytest.fixture
def duties(repository: Repository, broker: Broker, store: S3Store, settings: Settings) -> Duties:
    return Duties(repository, broker, store, settings.model_copy(update={"collect_after_s": 0.0}))


def fill(store: S3Store, repository: Repository) -> set[str]:
    """Puts something under the key of every row; the keys."""
    keys = repository.transact(lambda c: list(c.execute(text("SELECT key FROM checkpoints")).scalars()))
    for key in keys:
        store.put(key, b"x", "application/octet-stream")
    return set(keys)


def left(store: S3Store, keys: set[str]) -> set[str]:
    return keys & set(store.list_keys("v1/checkpoints/"))


def test_only_the_newest_of_a_live_render_is_kept(
    repository: Repository, store: S3Store, duties: Duties
) -> None:
    submit(repository, refine=False)
    (claimed,) = claim(repository, register(repository))
    for step in (3, 5):
        save(repository, claimed, step)
    repository.transact(lambda c: checkpointing.plan(c, [planned(claimed, 8)]))
    keys = fill(store, repository)
    assert transact(repository.engine, duties.drop_checkpoints) == "deleted 1 checkpoints"
    assert keys - left(store, keys) == {checkpoint_key(claimed.render_id, claimed.fence, 3)}
    assert transact(repository.engine, duties.drop_checkpoints) == "", "the planned one may be under way"
    released(repository, Release(*pair(claimed)))
    assert transact(repository.engine, duties.drop_checkpoints) == "deleted 1 checkpoints"
    assert left(store, keys) == {checkpoint_key(claimed.render_id, claimed.fence, 5)}
    assert transact(repository.engine, duties.drop_checkpoints) == ""


@pytest.mark.parametrize("end", ["finished", "handed over", "cancelled", "failed"])
def test_nothing_is_kept_of_what_has_moved_on(
    repository: Repository, store: S3Store, duties: Duties, end: str
) -> None:
    job_id = submit(repository, refine=end == "handed over")
    (claimed,) = claim(repository, register(repository))
    save(repository, claimed, 3)
    repository.transact(lambda c: checkpointing.plan(c, [planned(claimed, 8)]))
    keys = fill(store, repository)
    failure = Failure(*pair(claimed), ErrorClass.USER, "no")
    if end == "finished":
        repository.transact(lambda c: finishing.finish(c, done([claimed])))
    elif end == "handed over":
        repository.transact(lambda c: finishing.hand_over(c, done([claimed])))
    elif end == "failed":
        repository.transact(lambda c: failing.fail(c, [failure]))
    else:
        repository.mark_cancelled(job_id, tenant="")
        repository.cancel_renders(job_id)
    assert transact(repository.engine, duties.drop_checkpoints) == "deleted 2 checkpoints"
    assert left(store, keys) == set()
    assert one(repository, "SELECT count(*) FROM checkpoints") == 0


def test_an_upload_gets_its_time(
    repository: Repository, store: S3Store, broker: Broker, settings: Settings
) -> None:
    submit(repository, refine=False)
    (claimed,) = claim(repository, register(repository))
    repository.transact(lambda c: checkpointing.plan(c, [planned(claimed, 3)]))
    released(repository, Release(*pair(claimed)))
    patient = Duties(repository, broker, store, settings)
    assert transact(repository.engine, patient.drop_checkpoints) == ""
    one(
        repository,
        "UPDATE checkpoints SET created_at = now() - interval '1 h' RETURNING 1",
    )
    assert transact(repository.engine, patient.drop_checkpoints) == "", "the attempt has only just ended"
    one(repository, "UPDATE attempts SET ended_at = now() - interval '1 h' RETURNING 1")
    assert transact(repository.engine, patient.drop_checkpoints) == "deleted 1 checkpoints"
