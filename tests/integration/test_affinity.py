"""Which models incarnations are assigned, and what the decision sees, in real SQL."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
from sqlalchemy import text

from latentfarm.database import CHANNEL_WORKERS
from latentfarm.dispatch import dispatch, republish
from latentfarm.fairness import Affinity, Demand, assign
from latentfarm.ids import new_id
from latentfarm.listening import Listener
from latentfarm.repository import affinity, claiming, holding, tenants
from latentfarm.spec import RenderSpec
from latentfarm.states import Lane, Stage
from tests.chaos.place import until

if TYPE_CHECKING:
    from uuid import UUID

    from latentfarm.broker import Broker
    from latentfarm.repository.facade import Repository
    from latentfarm.settings import Settings

MODELS = ("a", "b", "c")


def enlist(repository: Repository, *, most: int = 1, ready: bool = True, **fields: Any) -> tuple[int, str]:
    values: dict[str, Any] = {
        "host": "h",
        "pid": 1,
        "device": "cuda:0",
        "stages": [Stage.BASE, Stage.REFINE],
        "models": MODELS,
        "models_held": most,
        "lease_s": 60,
        "before": None,
        **fields,
    }
    worker, models = repository.transact(lambda c: holding.enlist(c, **values))
    if ready:
        repository.mark_ready(worker, {"capacity": 12})
    return worker, "".join(models)


def submit(repository: Repository, model: str, n: int = 1, lane: Lane = Lane.BULK, tenant: str = "") -> UUID:
    job_id = new_id()
    spec = RenderSpec(model=model, prompt="x", width=64, height=64, num_images=n, seed=1, lane=lane)
    repository.add_job(job_id, spec, tenant=tenant)
    return job_id


def do(repository: Repository, sql: str, **values: Any) -> Any:
    return repository.transact(lambda c: c.execute(text(sql), values))


def dispatch_all(repository: Repository) -> list[tuple[int, int]]:
    picks = [
        pick for queue in repository.queues() for pick in repository.pick(queue, window_per_worker=24).picks
    ]
    return [(pick.render_id, pick.fence) for pick in picks]


def view(repository: Repository) -> Affinity:
    (found,) = repository.transact(affinity.views)
    return found


def demands(repository: Repository) -> dict[str, Demand]:
    return {one.model: one for one in view(repository).demands}


def test_the_first_models_are_spread_and_those_with_work_come_first(repository: Repository) -> None:
    assert enlist(repository, device="cuda:0")[1] == "a"
    assert enlist(repository, device="cuda:1")[1] == "b"
    submit(repository, "c")
    assert enlist(repository, device="cuda:2", models=("b", "a", "c"))[1] == "c"
    assert enlist(repository, device="cuda:3")[1] == "a"
    assert enlist(repository, device="cuda:4", most=2)[1] == "bc"


@pytest.mark.parametrize("most", [0, 3, 4])
def test_who_may_hold_all_holds_all_and_is_never_asked(repository: Repository, most: int) -> None:
    worker, models = enlist(repository, most=most)
    assert models == "abc"
    row = do(repository, "SELECT models, models_held, assigned_models, loaded_models FROM workers").one()
    assert tuple(row) == (list(MODELS), 0, list(MODELS), list(MODELS))
    submit(repository, "a", 5)
    assert repository.transact(affinity.views) == []
    assert worker


def test_the_next_incarnation_has_what_the_last_was_assigned(repository: Repository) -> None:
    first, _ = enlist(repository)
    assert repository.transact(lambda c: holding.reassign(c, first, ["c"]))
    repository.end_worker(first, "reassigned")
    assert enlist(repository, before=first)[1] == "c"


def test_models_with_which_no_child_comes_to_be_ready_are_left_for_others(repository: Repository) -> None:
    submit(repository, "a")
    seen, before = "", None
    for _ in range(8):
        before, models = enlist(repository, before=before, ready=False)
        if models == "b":
            repository.mark_ready(before, {})
        repository.end_worker(before, "exited with 1")
        seen += models
    assert seen == "aaabbbbb"


def test_a_device_whose_parent_is_new_has_what_it_held_last(repository: Repository) -> None:
    other, _ = enlist(repository, device="cuda:1")
    first, _ = enlist(repository)
    repository.transact(lambda c: holding.reassign(c, first, ["c"]))
    repository.end_worker(first, "drained")
    # Of the same name as a device that lives: on CPUs of one host that is somebody else.
    assert enlist(repository, device="cuda:1", pid=2)[1] == "b"
    assert enlist(repository, pid=2)[1] == "c"
    assert other


def test_an_incarnation_is_reassigned_once_and_hears_of_it(
    repository: Repository, settings: Settings
) -> None:
    worker, _ = enlist(repository, ready=False)
    heard: list[str] = []
    listener = Listener(settings.database_url, [CHANNEL_WORKERS], lambda _, payload: heard.append(payload))
    listener.start()
    until("it listens", lambda: heard == [""], 30)

    def reassign(models: str) -> bool:
        return repository.transact(lambda c: holding.reassign(c, worker, list(models)))

    assert not reassign("b")  # it has not loaded anything yet
    repository.mark_ready(worker, {})
    assert repository.owned(worker, {})[1] == ["a"]
    assert reassign("b")
    assert not reassign("c")
    assert repository.owned(worker, {})[1] == ["b"]
    until("it was told", lambda: heard == ["", str(worker)], 30)
    listener.stop()
    assert not view_is_settled(repository, worker)
    repository.end_worker(worker, "reassigned")
    assert repository.owned(worker, {})[1] is None


def view_is_settled(repository: Repository, worker: int) -> bool:
    """Whether any view has it as one that may be changed."""
    found = repository.transact(affinity.views)
    return any(one.settled for seen in found for one in seen.holders if one.worker == worker)


def test_the_view_tells_who_holds_what_and_what_waits(repository: Repository) -> None:
    worker, _ = enlist(repository)
    submit(repository, "a", 30)
    submit(repository, "b", 40, Lane.INTERACTIVE)
    dispatch_all(repository)
    do(repository, "UPDATE renders SET due_at = now() - interval '50 s'")
    do(repository, "UPDATE jobs SET picked_at = now() - interval '20 s' WHERE model = 'b'")
    do(repository, "UPDATE workers SET created_at = created_at - interval '7 s'")
    out = "SELECT r.id, fence FROM renders r JOIN queues q ON q.id = queue_id WHERE model = 'a' AND state = 1 LIMIT 4"
    pairs = [tuple(row) for row in do(repository, out)]
    repository.transact(lambda c: claiming.claim(c, worker, pairs))
    found = view(repository)
    (holder,) = found.holders
    assert (holder.worker, holder.holds, holder.serves, holder.most) == (worker, ("a",), MODELS, 1)
    assert (holder.slots, holder.running, holder.settled) == (12, 4, True)
    assert holder.load_s == pytest.approx(7, abs=3)
    assert holder.held_s < 60
    seen = demands(repository)
    assert {name: (one.waiting, one.interactive) for name, one in seen.items()} == {
        "a": (26, False),
        "b": (40, True),
    }
    # Nobody has been passed by whose model is held; others since they were last taken, or became due.
    assert seen["a"].waited_s < 1
    assert seen["b"].interactive_s == pytest.approx(20, abs=10)
    assert seen["b"].waited_s == seen["b"].interactive_s


def test_a_model_waits_from_when_it_was_last_held(repository: Repository) -> None:
    gone, _ = enlist(repository)
    submit(repository, "a", 3)
    dispatch_all(repository)
    do(repository, "UPDATE renders SET due_at = now() - interval '500 s'")
    do(repository, "UPDATE jobs SET picked_at = NULL")
    repository.end_worker(gone, "drained")
    do(repository, "UPDATE workers SET ended_at = now() - interval '100 s'")
    enlist(repository, models=("b", "c"))
    assert demands(repository)["a"].waited_s == pytest.approx(100, abs=20)


def test_a_job_of_several_models_asks_for_each_that_waits(repository: Repository) -> None:
    enlist(repository)
    submit(repository, "b", 100)
    do(repository, "UPDATE jobs SET model = '*'")
    dispatch_all(repository)
    assert demands(repository)["b"].waiting == 100


def test_a_drained_device_stands_for_nothing(repository: Repository) -> None:
    worker, _ = enlist(repository)
    other, _ = enlist(repository, device="cuda:1")
    do(repository, "INSERT INTO drains (host, device) VALUES ('h', 'cuda:0')")
    assert [holder.worker for holder in view(repository).holders] == [other]
    repository.end_worker(worker, "did not drain")
    assert [holder.worker for holder in view(repository).holders] == [other]


def test_what_may_not_be_sent_asks_for_nobody(repository: Repository) -> None:
    enlist(repository)
    paused = submit(repository, "b", 3)
    repository.pause_job(paused, tenant="", paused=True)
    submit(repository, "c", 3, tenant="late")
    repository.transact(lambda c: tenants.change(c, "late", {"paused": True}))
    dispatch_all(repository)
    assert {name: one.waiting for name, one in demands(repository).items()} == {"b": 0, "c": 0}
    assert set(assign(view(repository)).values()) == {("a",)}


def test_a_worker_between_two_children_stands_for_what_it_will_hold(repository: Repository) -> None:
    enlist(repository, device="cuda:1")
    second, _ = enlist(repository)
    submit(repository, "c", 3)
    repository.transact(lambda c: holding.reassign(c, second, ["c"]))
    repository.end_worker(second, "reassigned")
    found = {one.worker: (one.holds, one.settled) for one in view(repository).holders}
    assert found[second] == (("c",), False)
    third, _ = enlist(repository, before=second)
    assert second not in {one.worker for one in view(repository).holders}
    repository.end_worker(third, "drained")
    assert third not in {one.worker for one in view(repository).holders}


def test_stages_are_assigned_apart_and_packers_not_at_all(repository: Repository) -> None:
    base, _ = enlist(repository, stages=[Stage.BASE])
    refine, _ = enlist(repository, stages=[Stage.REFINE], device="cuda:1")
    enlist(repository, stages=[Stage.SEAL], models=("",), most=0, device="none")
    submit(repository, "b", 3)
    first, second = repository.transact(affinity.views)
    assert [one.worker for one in first.holders] == [base]
    assert assign(first) == {base: ("b",)}
    assert assign(second) == {refine: ("a",)}


def test_hints_that_went_with_a_changed_worker_are_sent_again_for_what_it_held(
    repository: Repository, broker: Broker
) -> None:
    worker, _ = enlist(repository)
    submit(repository, "a", 4)
    queue = next(queue for queue in repository.queues() if queue.name == "base.a.bulk")
    # The list is as long as if all of them were in it, for all that anybody can tell.
    assert dispatch(repository, broker, queue) == 4
    repository.transact(lambda c: holding.reassign(c, worker, ["b"]))
    repository.end_worker(worker, "reassigned")
    do(repository, "UPDATE renders SET sent_at = sent_at - interval '6 s'")
    assert republish(repository, broker, queue, flushed=False) == 4
    assert do(repository, "SELECT sum(tries + starts) FROM renders").scalar_one() == 0


def test_loads_are_counted(repository: Repository) -> None:
    first, _ = enlist(repository)
    repository.transact(lambda c: holding.reassign(c, first, ["b"]))
    repository.end_worker(first, "reassigned")
    enlist(repository, before=first)
    enlist(repository, most=0, device="cuda:1")
    enlist(repository, ready=False, device="cuda:2")
    assert repository.transact(holding.loads) == {"a": 2, "b": 2, "c": 1}
