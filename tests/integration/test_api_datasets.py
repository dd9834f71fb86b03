"""`/v1/datasets` of a real API: asked for, refused, gone on with, shown, cancelled, tried again."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import httpx
import pytest

from latentfarm.dataset_views import DatasetList, DatasetPlan, DatasetView, FailureList, FileList
from latentfarm.keys import PREFIX
from latentfarm.repository import sets
from latentfarm.states import Stage
from latentfarm.views import ProblemView
from tests.integration.ground import Ground
from tests.integration.serving import serve

if TYPE_CHECKING:
    from collections.abc import Iterator

    from latentfarm.repository.facade import Repository
    from latentfarm.settings import Settings
    from latentfarm.storage import S3Store

SMALL: dict[str, Any] = {"model": "tiny", "num_inference_steps": 4, "width": 64, "height": 64}
BIRDS: dict[str, Any] = {
    "name": "birds",
    "manifest": {"prompts": ["a red bird", "a blue bird", "a grey bird", "a green bird"]},
    "defaults": SMALL,
    "shard_samples": 3,
    "seed": 7,
}


@pytest.fixture
def http(settings: Settings) -> Iterator[httpx.Client]:
    with serve(settings) as url, httpx.Client(base_url=url, timeout=60) as client:
        yield client


@pytest.fixture
def ground(repository: Repository, store: S3Store) -> Ground:
    return Ground(repository, store)


def create(http: httpx.Client, status: int = 201, **fields: Any) -> DatasetView:
    answer = http.post("/v1/datasets", json=BIRDS | fields)
    assert answer.status_code == status, answer.text
    return DatasetView.model_validate_json(answer.content)


def refused(http: httpx.Client, status: int = 422, **fields: Any) -> ProblemView:
    answer = http.post("/v1/datasets", json=BIRDS | fields)
    assert answer.status_code == status, answer.text
    return ProblemView.model_validate_json(answer.content)


def show(http: httpx.Client) -> DatasetView:
    return DatasetView.model_validate_json(http.get("/v1/datasets/birds").content)


def tables(ground: Ground) -> list[int]:
    names = ("datasets", "jobs", "renders", "shards", "specs", "dataset_parts")
    return [ground.rows(f"SELECT count(*) FROM {name}")[0][0] for name in names]


def test_rows_in_the_request_are_checked_at_once(http: httpx.Client, ground: Ground) -> None:
    made = create(http, metadata={"for": "ünï"})
    assert (made.state, made.phase, made.seed, made.layout) == ("queued", "inserting", 7, "webdataset")
    assert (made.counts.images, made.counts.inserted, made.counts.shards) == (4, 0, 2)
    assert made.metadata == {"for": "ünï"}
    assert made.url == str(http.base_url.join("/v1/datasets/birds"))
    assert made.report is not None
    assert [sample.seed for sample in made.report.first] == [7, 8, 9]
    assert made.report.first[0].spec["prompt"] == "a red bird"
    assert made.fingerprint is not None
    assert len(made.fingerprint) == 64
    assert made.rate.images_per_second is None
    ground.come_in()
    shown = show(http)
    assert (shown.phase, shown.counts.inserted, shown.counts.queued) == ("inserted", 4, 4)


ROWS: list[tuple[dict[str, Any], int | None, str, str]] = [
    ({"prompts": []}, None, "manifest", "no rows"),
    ({"rows": [{"prompt": "a"}, {"prompt": "b", "promt": "c"}]}, 2, "promt", "prompt"),
    ({"rows": [{"prompt": "a", "id": "x"}, {"prompt": "b", "id": "x"}]}, 2, "id", "line 1"),
    ({"prompts": ["a", "b", "c" * 100_000]}, 3, "prompt", "8192"),
    ({"rows": [{"prompt": "a"}, {"prompt": "b", "width": 63}]}, 2, "width", "multiple of 8"),
    ({"rows": [{"prompt": "a", "model": "dall-e"}]}, 1, "model", "tiny"),
]


def test_a_wrong_row_is_named_and_nothing_is_made(http: httpx.Client, ground: Ground) -> None:
    spooled = set(ground.store.list_keys(f"{PREFIX}spool/"))  # the bucket is shared by all tests
    for manifest, line, field, told in ROWS:
        problem = refused(http, manifest=manifest)
        complaint = problem.errors[0]
        assert (complaint.line, complaint.field) == (line, field)
        assert told in f"{complaint.message} {complaint.allowed}"
    assert tables(ground) == [0] * 6
    assert set(ground.store.list_keys(f"{PREFIX}spool/")) == spooled


TEMPLATES: list[tuple[dict[str, Any], int | None, str]] = [
    (
        {"template": "combinatorial", "manifest": {"prompts": ["a", " ".join(["{a|b}"] * 40)]}},
        2,
        "1099511627776 prompts",
    ),
    (
        {"template": "combinatorial", "manifest": {"prompts": ["a", " ".join(["{a|b}"] * 16)]}},
        2,
        "too many images (allowed: up to 50000)",
    ),
    ({"template": "combinatorial", "manifest": {"prompts": ["a __colour__ bird"]}}, 1, "colour"),
    ({"sweep": {"product": {"stepps": [1, 2]}}}, None, "sweep.product.stepps: unknown field"),
    ({"sweep": {"zip": {"width": [64, 72], "height": [64]}}}, None, ""),
    ({"manifest": {"prompts": ["a"], "key": "x.jsonl"}}, None, "exactly one"),
    ({"quality": {"dark": "again"}}, None, "mark, drop"),
    ({"defaults": {"seed": 1}}, None, "seed of the run"),
    ({"name": "No Name"}, None, ""),
    ({"shard_samples": True}, None, ""),
    ({"layuot": "parquet"}, None, "layout"),
]


def test_a_wrong_request_is_refused_at_once(http: httpx.Client, ground: Ground) -> None:
    for fields, line, told in TEMPLATES:
        problem = refused(http, **fields)
        assert problem.errors[0].line == line
        assert told in problem.detail
    assert tables(ground) == [0] * 6


def test_a_dry_run_tells_what_it_would_be(http: httpx.Client, ground: Ground) -> None:
    fields = {
        "manifest": {
            "rows": [{"prompt": "a", "seed": 1}, {"prompt": "a", "seed": 1}, {"prompt": "b", "width": 63}]
        },
        "skip_invalid": True,
    }
    answer = http.post("/v1/datasets", params={"dry_run": "true"}, json=BIRDS | fields)
    assert answer.status_code == 200
    plan = DatasetPlan.model_validate_json(answer.content)
    assert (plan.rows, plan.images, plan.duplicates, plan.skipped) == (3, 2, 1, 1)
    assert [(row.line, row.field) for row in plan.skipped_rows] == [(3, "width")]
    assert (plan.estimate.device_seconds, plan.estimate.bytes) == (None, None)
    assert "no image yet" in plan.estimate.bytes_basis
    assert tables(ground) == [0] * 6


def test_estimates_follow_from_what_was_rendered(http: httpx.Client, ground: Ground) -> None:
    create(http)
    ground.come_in()
    ground.finish(ground.claim(Stage.BASE))
    counters = json.dumps({"counters": {"busy_s": 6.0, "steps": 12}})
    ground.repository.transact(
        lambda c: c.exec_driver_sql("UPDATE workers SET info = %s::jsonb WHERE id = 1", (counters,))
    )
    answer = http.post("/v1/datasets", params={"dry_run": "true"}, json=BIRDS | {"name": "more"})
    plan = DatasetPlan.model_validate_json(answer.content)
    assert plan.megapixel_steps == pytest.approx(4 * 4 * 64 * 64 / 1e6, rel=0.01)
    assert plan.estimate.device_seconds == pytest.approx(8.0, abs=0.1)  # 16 steps of half a second
    assert plan.estimate.bytes == 4
    assert "12 steps" in plan.estimate.device_seconds_basis


def test_the_same_manifest_again_is_the_same_dataset(http: httpx.Client, ground: Ground) -> None:
    first = create(http)
    problem = refused(http, 409)
    assert "still coming in" in problem.detail
    ground.come_in()
    again = create(http)
    assert (again.id, again.counts.images, again.phase) == (first.id, 4, "inserted")
    ground.come_in()
    assert tables(ground)[:3] == [1, 1, 4]


def test_other_parameters_or_rows_are_refused_with_the_difference(http: httpx.Client, ground: Ground) -> None:
    create(http)
    ground.come_in()
    before = tables(ground)
    problem = refused(http, 409, defaults=SMALL | {"num_inference_steps": 5})
    assert problem.type.endswith(":changed")
    assert "defaults.num_inference_steps: 4 before, 5 now" in problem.detail
    assert "seed: 7 before, 8 now" in refused(http, 409, seed=8).detail
    assert "layout: webdataset before, parquet now" in refused(http, 409, layout="parquet").detail
    changed = {"prompts": ["a red bird", "a blue bird", "a black bird", "a green bird"]}
    assert "first 4 images" in refused(http, 409, manifest=changed).detail
    assert tables(ground) == before


def test_rows_that_are_appended_go_on(http: httpx.Client, ground: Ground) -> None:
    first = create(http)
    ground.come_in()
    more = create(http, manifest={"prompts": [*BIRDS["manifest"]["prompts"], "a fifth", "a sixth"]})
    assert (more.id, more.counts.images, more.counts.inserted) == (first.id, 6, 4)
    ground.come_in()
    assert [
        row[0] for row in ground.rows("SELECT seed FROM renders WHERE ordinal >= 0 ORDER BY ordinal")
    ] == [*range(7, 13)]


def check_manifests(ground: Ground) -> None:
    for dataset in ground.repository.transact(lambda c: sets.busy(c, "checking")):
        ground.arrivals.check(dataset)


def test_a_manifest_in_the_bucket_is_read_by_the_scheduler(
    http: httpx.Client, ground: Ground, store: S3Store
) -> None:
    lines = "\n".join(json.dumps({"prompt": text}) for text in BIRDS["manifest"]["prompts"])
    store.put("mine/birds.jsonl", lines.encode(), "application/jsonl")
    made = create(http, 202, manifest={"key": "mine/birds.jsonl"})
    assert (made.state, made.counts.images, made.report) == ("checking", 0, None)
    check_manifests(ground)
    ground.come_in()
    shown = show(http)
    assert (shown.state, shown.counts.inserted) == ("queued", 4)
    # The same rows in the request are the same dataset.
    assert create(http).counts.images == 4


def test_an_upload_may_be_a_manifest_and_its_errors_are_told_later(
    http: httpx.Client, ground: Ground
) -> None:
    data = b"id,prompt\na,a red bird\nb,\n"
    offer = http.post("/v1/uploads", json={"size": len(data), "purpose": "manifest"}).json()
    assert httpx.put(offer["url"], content=data).status_code == 200
    assert refused(http, manifest={"upload": offer["id"]}).errors[0].field == "format"
    create(http, 202, manifest={"upload": offer["id"]}, format="csv")
    check_manifests(ground)
    shown = show(http)
    assert shown.state == "rejected"
    assert shown.is_final
    assert shown.error is not None
    assert (shown.error.line, shown.error.field) == (3, "prompt")
    # Nothing was rendered: the name is free for a manifest that is right.
    assert create(http).state == "queued"


def test_uploads_of_manifests_may_be_larger_than_those_of_pictures(http: httpx.Client) -> None:
    size = 2**31 - 1
    assert http.post("/v1/uploads", json={"size": size, "purpose": "manifest"}).status_code == 201
    for body in ({"size": size}, {"size": size + 1, "purpose": "manifest"}):
        answer = http.post("/v1/uploads", json=body)
        assert (answer.status_code, answer.json()["errors"][0]["field"]) == (422, "size")


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
