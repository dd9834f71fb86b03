"""Datasets that are thrown away: refused at work, out of reach at once, and by and by without a row or an object."""

from __future__ import annotations

import threading
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Any

import httpx
import pytest
from typer.testing import CliRunner

from latentfarm.cli.app import app
from latentfarm.errors import Conflict, NotFound, SourceGone
from latentfarm.repository import cancelling, deleting, emptying, sets
from scheduler import duties as duties_module
from scheduler.duties import Duties
from scheduler.tidying import Tidying
from tests.integration.asking import BIRDS, check_manifests
from tests.integration.batching import Desk, finish, jsonl, line, pack
from tests.integration.ground import Ground
from tests.integration.packers import Packers
from tests.integration.refining import problem
from tests.integration.serving import serve
from tests.integration.verifying import Verified, own_bucket

if TYPE_CHECKING:
    from collections.abc import Iterator
    from uuid import UUID

    from latentfarm.broker import Broker
    from latentfarm.repository.facade import Repository
    from latentfarm.settings import Settings
    from latentfarm.storage import S3Store

TABLES = ("datasets", "dataset_parts", "shards", "jobs", "renders", "attempts", "objects")
NAME = "balls"
SWEEPS = ("finish_cancels", "drop_results", "drop_latents", "collect", "tidy_datasets", "empty_datasets")


@pytest.fixture
def settings(settings: Settings) -> Settings:
    return own_bucket(settings).model_copy(update={"collect_after_s": 0.0})


@pytest.fixture
def http(settings: Settings) -> Iterator[httpx.Client]:
    with serve(settings) as url, httpx.Client(base_url=url, timeout=60) as client:
        yield client


@pytest.fixture
def ground(repository: Repository, store: S3Store) -> Packers:
    return Packers(repository, store)


@pytest.fixture
def duties(
    repository: Repository,
    broker: Broker,
    store: S3Store,
    settings: Settings,
    monkeypatch: pytest.MonkeyPatch,
) -> Duties:
    # A request with rows is spooled and stored in less than it rests; here nobody sends any meanwhile.
    monkeypatch.setattr(duties_module, "REST_S", 0.0)
    return Duties(repository, broker, store, settings)


def sweep(duties: Duties, times: int = 6) -> list[str]:
    """What the emptying told, each time."""
    told = []
    for _ in range(times):
        done = [duties.repository.transact(getattr(duties, name)) for name in SWEEPS]
        told.append(done[-1])
    return [one for one in told if one]


def counts(ground: Packers | Ground) -> dict[str, int]:
    """Rows of each table that has any."""
    found = {table: int(ground.rows(f"SELECT count(*) FROM {table}")[0][0]) for table in TABLES}
    return {table: count for table, count in found.items() if count}


def sealed(ground: Packers, count: int, **fields: Any) -> UUID:
    dataset = ground.create(count, **fields)
    ground.render()
    ground.seal_all()
    return dataset


def cancel(ground: Packers, dataset: UUID) -> None:
    ground.repository.transact(lambda c: cancelling.mark_cancelled(c, dataset, tenant=""))
    ground.repository.transact(lambda c: cancelling.cancel_renders(c, dataset))


def delete(http: httpx.Client, **headers: str) -> int:
    return http.delete(f"/v1/datasets/{NAME}", headers=headers).status_code


def mark(ground: Packers, dataset: UUID) -> None:
    ground.repository.transact(lambda c: deleting.mark_dataset_deleted(c, dataset, NAME, tenant=""))


def test_at_work_it_is_refused_and_at_rest_nothing_of_it_stays(
    http: httpx.Client, ground: Packers, store: S3Store, duties: Duties
) -> None:
    dataset = ground.create(25)
    told = http.delete(f"/v1/datasets/{NAME}")
    assert problem(told)[:2] == (409, "not_ready")
    assert ("cancel it" in told.text, told.headers["Retry-After"]) == (True, "1")
    ground.render(failed=[3])
    ground.seal_all()
    assert sweep(duties) == []
    before = counts(ground)
    assert delete(http, **{"X-Latentfarm-Tenant": "other"}) == 404
    assert counts(ground) == before
    assert [delete(http) for _ in range(2)] == [204, 204]
    assert counts(ground) == before
    assert http.get(f"/v1/datasets/{NAME}").status_code == 404
    assert http.get(f"/v1/datasets/{NAME}/files").status_code == 404
    assert http.get("/v1/datasets").json()["data"] == http.get("/v1/jobs").json()["data"] == []
    assert problem(http.post(f"/v1/jobs/{dataset}/retry"))[:2] == (409, "ended")
    assert "ball" not in http.get(f"/v1/jobs/{dataset}").text
    assert sweep(duties) == [f"deleted {25 + 4 + 4} rows, forgot 1 datasets"]
    assert counts(ground) == {}
    assert list(store.list_keys("v1/")) == []
    assert Verified(ground.repository, store).told == []
    assert delete(http) == http.get(f"/v1/jobs/{dataset}").status_code == 404


def test_its_name_is_free_at_once_and_makes_another_dataset(
    http: httpx.Client, ground: Packers, store: S3Store, duties: Duties
) -> None:
    old = sealed(ground, 12)
    assert delete(http) == 204
    new = sealed(ground, 12)
    assert new != old
    sweep(duties)
    assert counts(ground)["datasets"] == 1
    assert {key.split("/")[2] for key in store.list_keys("v1/datasets/")} == {str(new)}
    assert http.get(f"/v1/datasets/{NAME}").json()["counts"]["packed"] == 12
    # Not the one that is going: that one is gone already.
    assert delete(http) == 204
    sweep(duties)
    assert counts(ground) == {}


def test_a_cancelled_one_keeps_its_rows_until_its_images_are_gone(
    http: httpx.Client, ground: Packers, store: S3Store, duties: Duties
) -> None:
    dataset = ground.create(25)
    ground.render()
    cancel(ground, dataset)
    assert delete(http) == 204
    repository = ground.repository
    repository.transact(duties.drop_results)
    for _ in range(3):
        repository.transact(duties.tidy_datasets)
        assert repository.transact(duties.empty_datasets) == ""
    assert counts(ground)["renders"] >= counts(ground)["objects"] == 25
    sweep(duties)
    assert counts(ground) == {}
    assert list(store.list_keys("v1/")) == []


def test_one_that_waits_for_its_objects_holds_up_no_other(ground: Packers, duties: Duties) -> None:
    stuck = ground.create(5)
    ground.render()
    cancel(ground, stuck)
    mark(ground, stuck)
    other = sealed(ground, 5)
    mark(ground, other)
    ground.rows("UPDATE jobs SET clear_from = NULL WHERE deleted_at IS NOT NULL RETURNING 1")
    for _ in range(4):
        ground.repository.transact(duties.tidy_datasets)
        ground.repository.transact(duties.collect)
    told = [ground.repository.transact(duties.empty_datasets) for _ in range(2)]
    assert sorted(told) == ["", f"deleted {5 + 2 + 2} rows, forgot 1 datasets"]
    assert ground.rows("SELECT id FROM datasets") == [(stuck,)]


def test_no_transaction_deletes_more_than_its_share_and_one_that_dies_is_repeated(ground: Packers) -> None:
    dataset = sealed(ground, 25)
    mark(ground, dataset)
    tidying = Tidying(ground.store, 0.0)
    ground.rows("UPDATE jobs SET clear_from = NULL RETURNING 1")
    while ground.repository.transact(tidying.sweep):
        pass
    ground.rows("DELETE FROM objects RETURNING 1")
    left, ends = [counts(ground)], list[int]()
    while not ends or not ends[-1]:
        with ground.repository.engine.connect() as dying:
            emptying.empty_next(dying, limit=10)
            dying.rollback()
        assert counts(ground) == left[-1]
        done, ended = ground.repository.transact(lambda c: emptying.empty_next(c, limit=10))
        left.append(counts(ground))
        ends.append(ended)
        rows = [one.get("renders", 0) + one.get("shards", 0) for one in left[-2:]]
        assert rows[0] - rows[1] == done <= 10
        # An attempt without its render would stay for ever.
        assert left[-1].get("attempts", 0) <= left[-1].get("renders", 0)
    assert ends == [0, 0, 0, 1]
    assert left[-1] == {}
    assert ground.repository.transact(lambda c: emptying.empty_next(c, limit=10)) == (0, 0)


def test_whoever_goes_on_with_it_meanwhile_makes_nothing_of_it(ground: Packers) -> None:
    dataset = sealed(ground, 5)
    with ThreadPoolExecutor(1) as pool, ground.repository.engine.begin() as connection:
        deleting.mark_dataset_deleted(connection, dataset, NAME, tenant="")
        more = pool.submit(ground.create, 8)
        # It has found the dataset and waits for its row.
        waiting = "SELECT count(*) FROM pg_stat_activity WHERE wait_event_type = 'Lock' AND query LIKE '%untidy_since%'"
        for _ in range(100):
            if ground.rows(waiting) == [(1,)]:
                break
            threading.Event().wait(0.1)
        assert ground.rows(waiting) == [(1,)]
        connection.commit()
        with pytest.raises(Conflict):
            more.result(30)
    assert ground.rows("SELECT deleted_at IS NOT NULL, phase, images FROM datasets") == [
        (True, "rejected", 5)
    ]
    assert ground.job() == "succeeded"
    assert ground.create(8) != dataset


def test_a_manifest_that_is_being_read_is_work(http: httpx.Client, ground: Packers, store: S3Store) -> None:
    asked = BIRDS | {"name": NAME, "manifest": {"key": "mine/one.txt"}}
    assert http.post("/v1/datasets", json=asked).status_code == 202
    assert delete(http) == 409
    assert http.post(f"/v1/datasets/{NAME}/cancel").json()["state"] == "rejected"
    assert delete(http) == 204
    plain = Ground(ground.repository, store)
    check_manifests(plain)
    assert ground.rows("SELECT deleted_at IS NOT NULL, images FROM datasets") == [(True, 0)]


def test_storage_is_given_back(http: httpx.Client, ground: Packers) -> None:
    sealed(ground, 12)
    ground.rows("UPDATE jobs SET finished_at = finished_at - interval '1 hour' RETURNING 1")

    def kept() -> int:
        # Whoever sets the limit has it counted.
        found: int = http.patch("/v1/tenants/-", json={"max_storage_bytes": 10**9}).json()["storage_bytes"]
        return found

    assert kept() > 0
    assert delete(http) == 204
    assert kept() == 0


def test_a_batch_goes_with_its_dataset(
    http: httpx.Client, repository: Repository, store: S3Store, duties: Duties
) -> None:
    desk = Desk(http, Ground(repository, store), duties)
    made = desk.ask(jsonl(line("one"), line("two", num_inference_steps=0)), headers={"Idempotency-Key": "k"})
    desk.check()
    finish(desk)
    pack(desk)
    ended = desk.show(made)
    assert ended["status"] == "completed"
    name = f"batch-{made['id'].removeprefix('batch_')}"
    assert http.delete(f"/v1/datasets/{name}").status_code == 204
    assert http.get("/v1/batches").json()["data"] == []
    for gone in ("output_file_id", "error_file_id"):
        assert http.get(f"/v1/files/{ended[gone]}").status_code == 404
    assert http.get(f"/v1/batches/{made['id']}").status_code == 404
    sweep(duties)
    assert counts(desk.ground) == {}
    repository.transact(duties.drop_files)
    assert desk.sql("SELECT count(*) FROM files WHERE purpose = 'lines'") == 0


def test_the_command_deletes_and_says_what_it_cannot(http: httpx.Client, ground: Packers) -> None:
    command = ["dataset", "delete", NAME, "--api", str(http.base_url)]
    dataset = ground.create(5)
    busy = CliRunner().invoke(app, command)
    assert (busy.exit_code, "at work" in str(busy.exception or busy.output)) == (1, True)
    cancel(ground, dataset)
    ran = CliRunner().invoke(app, command)
    assert (ran.exit_code, ran.stdout) == (0, f"{NAME}  deleted\n")
    assert ground.repository.transact(lambda c: sets.find(c, NAME, tenant="")) is None
    with pytest.raises(NotFound):
        ground.repository.transact(lambda c: deleting.mark_dataset_deleted(c, dataset, NAME, tenant="other"))
    with pytest.raises(SourceGone):
        mark(ground, ground.create(5))
