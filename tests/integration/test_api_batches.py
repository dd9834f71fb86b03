"""OpenAI's batches of a real API, over a farm whose workers and scheduler are the test."""

from __future__ import annotations

import base64
from typing import TYPE_CHECKING, Any

import httpx
import pytest

from api.openai import batching, sorting
from latentfarm.states import Stage
from scheduler.duties import Duties
from tests.integration.batching import URL, Choosy, Desk, finish, jsonl, line, pack
from tests.integration.ground import Ground
from tests.integration.serving import serve
from tests.pieces import image_file
from worker.seal.shard import Layout

if TYPE_CHECKING:
    from collections.abc import Iterator

    from latentfarm.broker import Broker
    from latentfarm.repository.facade import Repository
    from latentfarm.settings import Settings
    from latentfarm.storage import S3Store


@pytest.fixture
def desk(settings: Settings, repository: Repository, store: S3Store, broker: Broker) -> Iterator[Desk]:
    with serve(settings) as url, httpx.Client(base_url=url, timeout=60) as http:
        swept = settings.model_copy(update={"collect_after_s": 0.0})
        yield Desk(http, Ground(repository, store), Duties(repository, broker, store, swept))


def test_a_batch_is_answered_line_by_line(desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    # Over the end of a shard, and more than one page of everything that has pages.
    monkeypatch.setattr(batching, "SHARD_IMAGES", 3)
    lines = [
        line("one", seed=5),
        line("two", n=2, seed=2**53 - 1),
        line("wrong", num_inference_steps=0),
        line("three", n=3, output_format="webp", quality="low"),
        line("ill"),
        line("last", user="u-1"),
    ]
    made = desk.ask(jsonl(*lines[:3]) + b"\n" + jsonl(*lines[3:]), metadata={"by": "me"})
    assert (made["status"], made["metadata"]) == ("validating", {"by": "me"})
    assert made["request_counts"] == {"total": 6, "completed": 0, "failed": 1}
    desk.check()
    assert desk.show(made)["status"] == "in_progress"
    finish(desk, 6)
    assert desk.show(made)["status"] == "finalizing"
    pack(desk)
    ended = desk.show(made)
    assert (ended["status"], ended["request_counts"]) == (
        "completed",
        {"total": 6, "completed": 4, "failed": 2},
    )
    assert ended["completed_at"] >= ended["created_at"]
    output = desk.lines(ended["output_file_id"])
    assert [one["custom_id"] for one in output] == ["one", "two", "three", "last"]
    bodies = [one["response"]["body"] for one in output]
    pictures = [base64.b64decode(image["b64_json"]) for body in bodies for image in body["data"]]
    assert pictures == [image_file(ordinal) for ordinal in (0, 1, 2, 3, 4, 5, 7)]
    seed = desk.sql("SELECT seed FROM datasets")
    seeds = [image["seed"] for body in bodies for image in body["data"]]
    assert seeds == [5, 2**53 - 1, 0, *((seed + k) % 2**53 for k in (3, 4, 5, 7))]
    assert {body["size"] for body in bodies} == {"64x64"}
    assert [(body["output_format"], body["quality"]) for body in bodies[1:3]] == [
        ("png", "medium"),
        ("webp", "low"),
    ]
    assert {(one["error"], one["response"]["status_code"]) for one in output} == {(None, 200)}
    wrong, ill = desk.lines(ended["error_file_id"])
    assert (wrong["custom_id"], wrong["response"]["status_code"]) == ("wrong", 400)
    assert wrong["response"]["body"]["error"]["param"] == "num_inference_steps"
    assert (ill["custom_id"], ill["response"]["status_code"]) == ("ill", 500)
    assert "no such thing" in ill["response"]["body"]["error"]["message"]
    assert len({one["id"] for one in (*output, wrong, ill)}) == 6
    # Kept for a while after the images, and then no longer.
    desk.change("DELETE FROM files WHERE id = (SELECT lines FROM batches)")
    assert desk.show(made)["request_counts"] == {"total": 6, "completed": 4, "failed": 2}


@pytest.mark.parametrize(
    ("content", "code", "number"),
    [
        (jsonl(line("a")) + b"{\n", "invalid_json_line", 2),
        (b'{"custom_id": "a", "custom_id": "b"}\n', "invalid_json_line", 1),
        (b"\xff\n", "invalid_json_line", 1),
        (b"[]\n", "invalid_json_line", 1),
        (jsonl(line("a"), line("b"), line("a", steps=1)), "duplicate_custom_id", 3),
        (jsonl(line("a", n=2), line("a-1")), "duplicate_custom_id", 2),
        (jsonl(line("a"), line("a", n=2)), "duplicate_custom_id", 2),
        (jsonl(line("a", n=2), line("a")), "duplicate_custom_id", 2),
        (jsonl({**line("a"), "url": "/v1/images/edits"}), "mismatched_endpoint", 1),
        (jsonl({**line("a"), "method": "GET"}), "invalid_method", 1),
        (jsonl({**line("a"), "custom_id": ""}), "invalid_custom_id", 1),
        (jsonl({**line("a"), "body": "x"}), "invalid_body", 1),
        (jsonl({**line("a"), "more": 1}), "unknown_parameter", 1),
        (b"\n \n", "empty_file", None),
        (b"\xef\xbb\xbf" + jsonl(line("a")), "invalid_file", 1),
    ],
)
def test_a_file_that_is_none_of_requests_fails_the_batch(
    desk: Desk, content: bytes, code: str, number: int | None
) -> None:
    made = desk.ask(content)
    assert made["status"] == "failed"
    assert (made["errors"]["data"][0]["code"], made["errors"]["data"][0]["line"]) == (code, number)
    assert (made["failed_at"], made["output_file_id"], made["error_file_id"]) == (
        made["created_at"],
        None,
        None,
    )
    assert desk.sql("SELECT count(*) FROM datasets") == 0
    assert desk.sql("SELECT count(*) FROM files WHERE purpose = 'lines'") == 0


def test_a_file_with_too_many_requests_fails_the_batch(desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sorting, "MAX_REQUESTS", 2)
    assert desk.ask(jsonl(line("a"), line("b")))["status"] == "validating"
    assert (
        desk.ask(jsonl(line("a"), line("b"), line("c")))["errors"]["data"][0]["code"] == "too_many_requests"
    )


@pytest.mark.parametrize(
    ("body", "param"),
    [
        ({"stream": True}, "stream"),
        ({"response_format": "url"}, "response_format"),
        ({"model": "dall-e-3"}, "model"),
        ({"lane": "interactive"}, "lane"),
        ({"image": "sha256:" + "0" * 64}, "image"),
        ({"n": 11}, "n"),
        ({"prompt": 7}, "prompt"),
        ({"background": "transparent"}, "background"),
        ({"metadata": {"a": 1}}, "metadata.a"),
        ({"size": "20000x64"}, "size"),
    ],
)
def test_requests_that_cannot_be_stand_in_the_error_file(
    desk: Desk, body: dict[str, Any], param: str
) -> None:
    """With nothing else in the file, there is nothing to render."""
    made = desk.ask(jsonl(line("a", **body)))
    assert (made["status"], made["request_counts"]) == (
        "completed",
        {"total": 1, "completed": 0, "failed": 1},
    )
    assert made["output_file_id"] is None
    (told,) = desk.lines(made["error_file_id"])
    assert told["response"]["body"]["error"]["param"] == param
    assert desk.sql("SELECT count(*) FROM datasets") == 0


def test_the_same_request_again_makes_no_second_batch(desk: Desk) -> None:
    asked = {
        "input_file_id": desk.upload(jsonl(line("a"))).json()["id"],
        "endpoint": URL,
        "completion_window": "24h",
    }

    def post(**headers: str) -> httpx.Response:
        return desk.http.post("/v1/batches", json=asked, headers=headers)

    first = post(**{"x-stainless-retry-count": "0"}).json()
    again = post(**{"x-stainless-retry-count": "1"})
    assert (again.json()["id"], again.headers["idempotency-replayed"]) == (first["id"], "true")
    assert post(**{"x-stainless-retry-count": "0"}).json()["id"] != first["id"]
    keyed = post(**{"Idempotency-Key": "k"})
    assert post(**{"Idempotency-Key": "k"}).json()["id"] == keyed.json()["id"]
    asked["completion_window"] = "48h"
    assert post(**{"Idempotency-Key": "k"}).json()["error"]["code"] == "idempotency_mismatch"
    assert desk.sql("SELECT count(*) FROM batches") == desk.sql("SELECT count(*) FROM datasets") == 3
    listed = desk.http.get("/v1/batches", params={"limit": 2}).json()
    rest = desk.http.get("/v1/batches", params={"limit": 2, "after": listed["last_id"]}).json()
    assert (listed["has_more"], rest["has_more"]) == (True, False)
    assert [one["id"] for one in rest["data"]] == [first["id"]]


@pytest.mark.parametrize(
    ("fields", "param"),
    [
        ({"input_file_id": "file-1"}, "input_file_id"),
        ({"endpoint": "/v1/images/edits"}, "endpoint"),
        ({"completion_window": "721h"}, "completion_window"),
        ({"completion_window": "1d"}, "completion_window"),
        ({"metadata": {"a": 1}}, "metadata.a"),
        ({"output_expires_after": {"anchor": "created_at", "seconds": 1}}, "output_expires_after.seconds"),
        ({"priority": 1}, "priority"),
    ],
)
def test_a_batch_that_cannot_be_is_refused(desk: Desk, fields: dict[str, Any], param: str) -> None:
    asked = {
        "input_file_id": desk.upload(jsonl(line("a"))).json()["id"],
        "endpoint": URL,
        "completion_window": "24h",
    }
    answer = desk.http.post("/v1/batches", json={**asked, **fields})
    assert (answer.status_code, answer.json()["error"]["param"]) == (400, param)
    assert desk.sql("SELECT count(*) FROM batches") == 0


def test_a_batch_of_a_tenant_whose_quota_is_used_up_is_refused(desk: Desk) -> None:
    desk.change("INSERT INTO quotas (tenant, max_cost_per_day) VALUES ('', 0)")
    asked = {"input_file_id": desk.upload(jsonl(line("a"))).json()["id"], "endpoint": URL}
    answer = desk.http.post("/v1/batches", json={**asked, "completion_window": "24h"})
    assert (answer.status_code, "of this day" in answer.json()["error"]["message"]) == (429, True)
    assert int(answer.headers["Retry-After"]) > 0
    assert desk.sql("SELECT count(*) FROM batches") == 0


@pytest.mark.parametrize("begun", [False, True])
@pytest.mark.parametrize("by", ["client", "time"])
def test_a_batch_that_is_taken_back_keeps_what_is_packed(
    desk: Desk, monkeypatch: pytest.MonkeyPatch, by: str, *, begun: bool
) -> None:
    monkeypatch.setattr(batching, "SHARD_IMAGES", 1)
    made = desk.ask(jsonl(line("a"), line("b"), line("c", n=0)))
    if begun:
        desk.check()
        desk.ground.finish(desk.ground.claim(Stage.BASE, 1))
        Choosy(desk.ground, Layout.IMAGEFOLDER).pack_all()
    if by == "client":
        assert desk.http.post(f"/v1/batches/{made['id']}/cancel").json()["status"] == "cancelled"
    else:
        desk.ground.repository.transact(desk.duties.expire_batches)
        assert desk.show(made)["expired_at"] is None
        desk.change("UPDATE batches SET expires_at = now()")
        assert desk.ground.repository.transact(desk.duties.expire_batches) == "took back 1 batches"
        desk.change(
            "UPDATE jobs SET cancelled_at = now() - interval '1 minute' WHERE cancelled_at IS NOT NULL"
        )
        desk.ground.repository.transact(desk.duties.finish_cancels)
    desk.check()
    ended = desk.show(made)
    done = int(begun)
    assert ended["status"] == ("cancelled" if by == "client" else "expired")
    assert ended["request_counts"] == {"total": 3, "completed": done, "failed": 3 - done}
    told = desk.lines(ended["error_file_id"])
    assert [one["custom_id"] for one in told] == ["a", "b", "c"][done:]
    assert told[-2]["error"]["code"] == f"batch_{ended['status']}"
    if begun:
        assert [one["custom_id"] for one in desk.lines(ended["output_file_id"])] == ["a"]
    assert ended["output_file_id" if not begun else "errors"] is None


def test_what_is_tried_again_as_a_dataset_comes_in_its_place(desk: Desk) -> None:
    """It lies in a further part of its shard."""
    made = desk.ask(jsonl(*(line(name) for name in "abcd")))
    desk.check()
    finish(desk, 1, 2)
    pack(desk)
    name = made["id"].replace("batch_", "batch-")
    assert desk.http.post(f"/v1/datasets/{name}/retry-failed").json()["retried"] == 2
    assert desk.show(made)["status"] == "in_progress"
    finish(desk, 2)
    pack(desk)
    ended = desk.show(made)
    assert ended["request_counts"] == {"total": 4, "completed": 3, "failed": 1}
    output = desk.lines(ended["output_file_id"])
    assert [one["custom_id"] for one in output] == ["a", "b", "d"]
    files = [base64.b64decode(one["response"]["body"]["data"][0]["b64_json"]) for one in output]
    assert files == [image_file(ordinal) for ordinal in (0, 1, 3)]
    assert [one["custom_id"] for one in desk.lines(ended["error_file_id"])] == ["c"]
