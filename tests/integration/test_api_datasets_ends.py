"""`/v1/datasets` of a real API: how datasets end, are held back, are tried again, and are shown."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import httpx
import pytest

from latentfarm.dataset_views import DatasetList, DatasetPlanning, DatasetView, FailureList, FileList
from latentfarm.keys import PREFIX
from latentfarm.states import Stage
from tests.integration.asking import BIRDS, check_manifests, create, refused, show, tables
from tests.integration.ground import Ground
from tests.integration.serving import serve

if TYPE_CHECKING:
    from collections.abc import Iterator

    from latentfarm.repository.facade import Repository
    from latentfarm.settings import Settings
    from latentfarm.storage import S3Store


@pytest.fixture
def http(settings: Settings) -> Iterator[httpx.Client]:
    with serve(settings) as url, httpx.Client(base_url=url, timeout=60) as client:
        yield client


@pytest.fixture
def ground(repository: Repository, store: S3Store) -> Ground:
    return Ground(repository, store)


def test_cancel_ends_a_dataset_and_its_name(http: httpx.Client, ground: Ground) -> None:
    create(http)
    ground.come_in()
    cancelled = DatasetView.model_validate_json(http.post("/v1/datasets/birds/cancel").content)
    assert (cancelled.state, cancelled.is_final) == ("cancelled", True)
    assert ground.rows("SELECT DISTINCT state FROM renders") == [(5,)]
    problem = refused(http, 409)
    assert (problem.type, "cancelled" in problem.detail) == ("urn:latentfarm:problem:ended", True)


def test_cancel_before_the_manifest_is_checked_rejects_it(
    http: httpx.Client, ground: Ground, store: S3Store
) -> None:
    store.put("mine/one.txt", b"a bird\n", "text/plain")
    create(http, 202, manifest={"key": "mine/one.txt"})
    assert http.post("/v1/datasets/birds/cancel").json()["state"] == "rejected"
    check_manifests(ground)
    assert show(http).state == "rejected"
    assert tables(ground)[1:3] == [0, 0]


def test_a_paused_dataset_sends_nothing_until_it_is_resumed(http: httpx.Client, ground: Ground) -> None:
    create(http)
    paused = http.post("/v1/datasets/birds/pause").json()
    assert (paused["state"], paused["rate"]["eta_s"]) == ("paused", None)
    ground.come_in()
    assert show(http).counts.inserted == 4
    assert ground.claim(Stage.BASE) == []
    assert http.post("/v1/datasets/birds/resume").json()["state"] == "queued"
    assert len(ground.claim(Stage.BASE)) == 4


def test_nothing_is_sent_before_it_is_to_start(http: httpx.Client, ground: Ground) -> None:
    made = create(http, start_after="2099-01-31T20:00:00+01:00")
    ground.come_in()
    assert ground.claim(Stage.BASE) == []
    then = datetime(2099, 1, 31, 19, tzinfo=UTC)
    assert made.start_after == show(http).start_after == then
    assert datetime.fromisoformat(http.get(f"/v1/jobs/{made.id}").json()["start_after"]) == then
    ground.rows("UPDATE jobs SET start_after = now() - interval '1 s' RETURNING id")
    assert len(ground.claim(Stage.BASE)) == 4


def test_failed_images_are_listed_and_tried_again(http: httpx.Client, ground: Ground) -> None:
    create(http)
    ground.come_in()
    claimed = ground.claim(Stage.BASE)
    ground.fail(claimed[1:3])
    ground.finish([claimed[0], claimed[3]])
    shown = show(http)
    assert (shown.counts.ended, shown.counts.failed, shown.failures) == (4, 2, {"user": 2})
    assert shown.rate.images_per_second is not None
    assert "4 images that ended" in shown.rate.basis
    page = FailureList.model_validate_json(
        http.get("/v1/datasets/birds/failures", params={"limit": 1}).content
    )
    assert [(one.ordinal, one.seed, one.error_class) for one in page.data] == [(1, 8, "user")]
    assert page.next == 2
    rest = http.get("/v1/datasets/birds/failures", params={"from": page.next}).json()
    assert ([one["ordinal"] for one in rest["data"]], rest["next"]) == ([2], None)
    answer = http.post("/v1/datasets/birds/retry-failed").json()
    assert (answer["retried"], answer["dataset"]["counts"]["failed"]) == (2, 0)
    assert http.post("/v1/datasets/birds/retry-failed").json()["retried"] == 0


def test_files_of_sealed_shards_have_links(http: httpx.Client, ground: Ground) -> None:
    create(http)
    ground.come_in()
    ground.finish(ground.claim(Stage.BASE))
    assert http.get("/v1/datasets/birds/files").json()["data"] == []
    ground.seal()
    found = FileList.model_validate_json(http.get("/v1/datasets/birds/files").content)
    assert [(one.number, one.part, one.images) for one in found.data] == [(0, 0, 3), (1, 0, 1)]
    assert all(file.url.startswith("http") for one in found.data for file in one.files)
    ground.seal()
    ended = show(http)
    assert (ended.state, ended.counts.packed, ended.counts.sealed) == ("succeeded", 4, 2)
    assert ended.rate.eta_s is None
    numbers = [one["number"] for one in http.get("/v1/datasets/birds/files").json()["data"]]
    assert numbers == [-1, 0, 1]
    after = http.get("/v1/datasets/birds/files", params={"after": "-1.0"}).json()["data"]
    assert [one["number"] for one in after] == [0, 1]
    assert http.get("/v1/datasets/birds/files", params={"after": "x"}).status_code == 422


def test_answers_stay_below_64_kib(http: httpx.Client, ground: Ground) -> None:
    rows = [{"prompt": "ü" * 8000, "prompt_2": "ü" * 8000, "negative_prompt": "ü" * 8000}] * 10
    answer = http.post("/v1/datasets", json=BIRDS | {"manifest": {"rows": rows}, "shard_samples": 1})
    assert answer.status_code == 201
    assert len(answer.content) < 65_536
    ground.come_in()
    files = json.dumps(
        [{"path": f"data/{i}", "key": f"k{i}", "size": 1, "sha256": "0" * 64} for i in range(40)]
    )
    ground.repository.transact(
        lambda c: c.exec_driver_sql("UPDATE shards SET state = 'sealed', files = %s::jsonb", (files,))
    )
    seen: list[int] = []
    after: str | None = None
    while True:
        answer = http.get("/v1/datasets/birds/files", params={} if after is None else {"after": after})
        assert len(answer.content) < 65_536
        page = FileList.model_validate_json(answer.content)
        seen += [shard.number for shard in page.data]
        if (after := page.next) is None:
            break
    assert seen == list(range(-1, 10))


def test_lists_go_page_by_page(http: httpx.Client) -> None:
    names = [f"set-{number}" for number in range(5)]
    for name in names:
        create(http, name=name)
    seen: list[str] = []
    after: dict[str, Any] = {}
    while True:
        answer = http.get("/v1/datasets", params={"limit": 2} | after)
        page = DatasetList.model_validate_json(answer.content)
        seen += [one.name for one in page.data]
        if not page.has_more:
            break
        after = {"after": page.next_cursor}
    assert seen == names[::-1]


def test_names_that_do_not_exist_are_404(http: httpx.Client) -> None:
    shown, done = ("", "/failures", "/files"), ("/cancel", "/retry-failed", "/pause", "/resume")
    for method, path in [*(("GET", path) for path in shown), *(("POST", path) for path in done)]:
        answer = http.request(method, f"/v1/datasets/nothing{path}")
        assert answer.status_code == 404
        assert answer.headers["content-type"] == "application/problem+json"


def test_a_dry_run_of_a_manifest_in_the_bucket_is_made_by_the_scheduler(
    http: httpx.Client, ground: Ground, store: S3Store
) -> None:
    lines = [{"prompt": "a"}, {"prompt": "b", "seed": 8}, {"prompt": "b", "seed": 8}]
    for name, more in (("right", []), ("wrong", [{"prompt": "c", "width": 63}])):
        data = "".join(json.dumps(line) + "\n" for line in lines + more)
        store.put(f"mine/{name}.jsonl", data.encode(), "application/jsonl")
    spooled = set(store.list_keys(f"{PREFIX}spool/"))
    found = {}
    for name in ("right", "wrong"):
        asked = BIRDS | {"manifest": {"key": f"mine/{name}.jsonl"}}
        answer = http.post("/v1/datasets", params={"dry_run": "true"}, json=asked)
        assert (answer.status_code, answer.json()["state"]) == (202, "checking")
        check_manifests(ground)
        assert http.get(answer.headers["Location"], headers={"X-Latentfarm-Tenant": "b"}).status_code == 404
        found[name] = DatasetPlanning.model_validate_json(http.get(answer.headers["Location"]).content)
    plan, error = found["right"].plan, found["wrong"].error
    assert plan is not None
    assert (plan.name, plan.seed, plan.images, plan.duplicates) == ("birds", 7, 3, 1)
    assert [one.line for one in plan.first] == [1, 2, 3]
    assert error is not None
    assert (found["wrong"].state, error.line, error.field) == ("rejected", 4, "width")
    # Nothing of it is a dataset, and what it found is forgotten by and by.
    assert http.get("/v1/datasets").json()["data"] == []
    assert tables(ground) == [2, 0, 0, 0, 0, 0]
    assert set(store.list_keys(f"{PREFIX}spool/")) == spooled
    ground.repository.transact(
        lambda c: c.exec_driver_sql("UPDATE datasets SET created_at = now() - interval '25 hours'").rowcount
    )
    http.post(
        "/v1/datasets", params={"dry_run": "true"}, json=BIRDS | {"manifest": {"key": "mine/right.jsonl"}}
    )
    assert tables(ground)[0] == 1
    assert http.get(f"/v1/plans/{found['right'].id}").status_code == 404
