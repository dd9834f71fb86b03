"""OpenAI's files of a real API: those that clients send, and those that come of batches."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import httpx
import pytest

from latentfarm.keys import file_key
from scheduler.duties import Duties
from tests.integration.batching import Desk, finish, jsonl, line, pack
from tests.integration.ground import Ground
from tests.integration.serving import serve

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


def test_files_are_kept_until_they_are_deleted_or_their_time_is_over(desk: Desk, store: S3Store) -> None:
    content = jsonl(line("a"))
    first, second = (desk.upload(content).json() for _ in range(2))
    brief = desk.upload(
        content, **{"expires_after[anchor]": "created_at", "expires_after[seconds]": "3600"}
    ).json()
    assert (first["bytes"], first["purpose"], first["filename"]) == (len(content), "batch", "requests.jsonl")
    assert first["expires_at"] - first["created_at"] == 30 * 86_400
    assert brief["expires_at"] - brief["created_at"] == 3600
    assert desk.http.get(f"/v1/files/{first['id']}/content").content == content
    listed = desk.http.get("/v1/files", params={"limit": 2}).json()
    assert [one["id"] for one in listed["data"]] == [brief["id"], second["id"]]
    rest = desk.http.get("/v1/files", params={"after": listed["last_id"], "purpose": "batch"}).json()
    assert ([one["id"] for one in rest["data"]], rest["has_more"]) == ([first["id"]], False)
    oldest = desk.http.get("/v1/files", params={"order": "asc"}).json()
    assert [one["id"] for one in oldest["data"]] == [first["id"], second["id"], brief["id"]]
    assert desk.http.delete(f"/v1/files/{first['id']}").json()["deleted"] is True
    desk.change(f"UPDATE files SET expires_at = now() WHERE id = '{brief['id'].removeprefix('file-')}'")
    for gone in (first, brief):
        for path in ("", "/content"):
            assert desk.http.get(f"/v1/files/{gone['id']}{path}").status_code == 404
        assert desk.http.delete(f"/v1/files/{gone['id']}").status_code == 404
    assert desk.ground.repository.transact(desk.duties.drop_files) == "deleted 2 files"
    kept = desk.sql("SELECT id FROM files")
    assert list(store.list_keys(file_key(kept))) == [file_key(kept)]
    assert desk.sql("SELECT count(*) FROM files") == 1
    assert second["id"] == f"file-{kept}"


@pytest.mark.parametrize(
    ("data", "param"),
    [
        ({"purpose": "vision"}, "purpose"),
        ({"purpose": "batch", "more": "1"}, "more"),
        (
            {"purpose": "batch", "expires_after[anchor]": "now", "expires_after[seconds]": "3600"},
            "expires_after.anchor",
        ),
        ({"purpose": "batch", "expires_after[anchor]": "created_at"}, "expires_after.seconds"),
        ({}, "purpose"),
    ],
)
def test_a_file_that_cannot_be_is_refused_and_leaves_nothing(
    desk: Desk, data: dict[str, str], param: str
) -> None:
    answer = desk.http.post("/v1/files", data=data, files={"file": ("a.jsonl", b"x")})
    assert (answer.status_code, answer.json()["error"]["param"]) == (400, param)
    wrongs: list[dict[str, Any]] = [
        {"files": {"file": ("a.jsonl", b"")}},
        {"data": {"purpose": "batch", "file": "x"}},
        {"json": {}},
    ]
    for wrong in wrongs:
        assert desk.http.post("/v1/files", **{"data": {"purpose": "batch"}, **wrong}).status_code == 400
    assert desk.sql("SELECT count(*) FROM files") == 0


def test_the_files_of_a_batch_are_deleted_each_by_itself(desk: Desk) -> None:
    made = desk.ask(jsonl(line("a"), line("b")))
    for kind in ("output", "errors"):
        assert desk.http.get(f"/v1/files/file-{made['id'].removeprefix('batch_')}-{kind}").status_code == 404
    desk.check()
    finish(desk, 1)
    pack(desk)
    ended = desk.show(made)
    output, errors = (f"/v1/files/{ended[name]}" for name in ("output_file_id", "error_file_id"))
    assert desk.http.delete(output).json() == {
        "id": ended["output_file_id"],
        "object": "file",
        "deleted": True,
    }
    assert desk.http.get(f"{output}/content").status_code == 404
    assert desk.sql("SELECT results_gone_at IS NOT NULL FROM jobs") is True
    assert len(desk.lines(ended["error_file_id"])) == 1
    assert desk.http.delete(errors).status_code == 200
    assert desk.http.get(errors).status_code == 404
    # What is kept of the batch goes a month after its images.
    desk.ground.repository.transact(desk.duties.drop_files)
    assert desk.sql("SELECT count(*) FROM files WHERE purpose = 'lines'") == 1
    desk.change("UPDATE jobs SET results_gone_at = now() - interval '31 days'")
    desk.ground.repository.transact(desk.duties.drop_files)
    desk.ground.repository.transact(desk.duties.drop_files)
    assert desk.sql("SELECT count(*) FROM files WHERE purpose = 'lines'") == 0


def test_images_that_are_kept_no_longer_are_gone(desk: Desk) -> None:
    made = desk.ask(jsonl(line("a")), output_expires_after={"anchor": "created_at", "seconds": 86_400})
    desk.check()
    finish(desk)
    pack(desk)
    output = desk.show(made)["output_file_id"]
    shown = desk.http.get(f"/v1/files/{output}").json()
    assert shown["expires_at"] - shown["created_at"] == 86_400
    desk.change("UPDATE jobs SET finished_at = now() - interval '2 days'")
    desk.ground.repository.transact(desk.duties.drop_results)
    answer = desk.http.get(f"/v1/files/{output}/content")
    assert (answer.status_code, answer.json()["error"]["code"]) == (410, "gone")


def test_a_shard_that_is_not_what_was_packed_is_not_passed_on(desk: Desk, store: S3Store) -> None:
    made = desk.ask(jsonl(line("a")))
    desk.check()
    finish(desk)
    pack(desk)
    path = f"/v1/files/{desk.show(made)['output_file_id']}/content"
    assert desk.http.get(path).status_code == 200
    (shard,) = (
        key for key in store.list_keys("v1/datasets/") if made["id"][6:] in key and key.endswith(".zip")
    )
    data = bytearray(b"".join(store.stream(shard)))
    data[100] ^= 1
    store.put(shard, bytes(data), "x/x")
    with pytest.raises(httpx.RemoteProtocolError):
        desk.http.get(path)
