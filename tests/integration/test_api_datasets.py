"""`/v1/datasets` of a real API: asked for, refused, gone on with, shown, cancelled, tried again."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any
from uuid import UUID

import httpx
import pytest

from latentfarm.dataset_views import DatasetPlan
from latentfarm.keys import PREFIX
from latentfarm.repository import uploads
from latentfarm.states import Stage
from tests.integration.asking import BIRDS, SMALL, check_manifests, create, refused, show, tables
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
    ({"quality": {"dark": "later"}}, None, "'mark', 'drop' or 'again'"),
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


def test_an_upload_that_is_not_there_is_refused_at_once(http: httpx.Client, ground: Ground) -> None:
    strange = "00000000-0000-7000-8000-000000000000"
    problem = refused(http, manifest={"upload": strange}, format="csv")
    assert problem.errors[0].field == "manifest.upload"
    offer = http.post("/v1/uploads", json={"size": 4, "purpose": "manifest"}).json()
    ground.rows("UPDATE uploads SET expires_at = now() - interval '1 s' RETURNING id")
    assert refused(http, manifest={"upload": offer["id"]}, format="csv").errors[0].field == "manifest.upload"
    assert tables(ground) == [0] * 6


def test_an_upload_is_held_until_it_was_checked(http: httpx.Client, ground: Ground) -> None:
    data = b"prompt\na red bird\n"
    offer = http.post("/v1/uploads", json={"size": len(data), "purpose": "manifest"}).json()
    assert httpx.put(offer["url"], content=data).status_code == 200
    create(http, 202, manifest={"upload": offer["id"]}, format="csv")
    ground.rows("UPDATE uploads SET expires_at = now() - interval '1 day' RETURNING id")

    def expired() -> list[UUID]:
        return ground.repository.transact(lambda c: uploads.expired(c, after_s=0, limit=10))

    assert expired() == []
    check_manifests(ground)
    assert show(http).state == "queued"
    assert expired() == [UUID(offer["id"])]


def test_uploads_of_manifests_may_be_larger_than_those_of_pictures(http: httpx.Client) -> None:
    size = 2**31 - 1
    assert http.post("/v1/uploads", json={"size": size, "purpose": "manifest"}).status_code == 201
    for body in ({"size": size}, {"size": size + 1, "purpose": "manifest"}):
        answer = http.post("/v1/uploads", json=body)
        assert (answer.status_code, answer.json()["errors"][0]["field"]) == (422, "size")
