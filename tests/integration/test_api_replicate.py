"""Replicate's routes of a real API, over a puppet in place of the workers: waiting, ends, links, pages and files."""

from __future__ import annotations

import io
import time
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Any
from uuid import UUID

import httpx
import pytest
import trustme
from replicate.client import Client
from replicate.helpers import FileOutput

from api.patient import Patient
from api.replicate import creating
from api.replicate.translation import to_spec
from latentfarm.api_keys import Scope
from latentfarm.errors import ErrorClass
from latentfarm.key_ring import KeyRing
from latentfarm.signed_links import Linked, LinkSigner
from tests.drawing import picture
from tests.integration.pictures import BLUE, RED, count
from tests.integration.serving import Puppet, serve

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from latentfarm.records import Claimed
    from latentfarm.repository.facade import Repository
    from latentfarm.settings import Settings
    from latentfarm.spec import RenderSpec

PREDICTIONS = "/replicate/v1/predictions"
FILES = "/replicate/v1/files"
OF_TINY = "/replicate/v1/models/latentfarm/tiny/predictions"
INPUT = {"prompt": "a red circle", "width": 64, "height": 64, "seed": 5}


def until(condition: Callable[[], Any], patience_s: float = 60.0) -> Any:
    end = time.monotonic() + patience_s
    while not (found := condition()):
        assert time.monotonic() < end
        time.sleep(0.05)
    return found


def create(http: httpx.Client, prefer: str = "", key: str = "", **inputs: Any) -> httpx.Response:
    headers = {"Prefer": prefer} if prefer else {}
    headers |= {"Idempotency-Key": key} if key else {}
    return http.post(OF_TINY, json={"input": {**INPUT, **inputs}}, headers=headers)


def claimed(puppet: Puppet, images: int) -> list[Claimed]:
    found: list[Claimed] = []

    def all_of_them() -> bool:
        found.extend(puppet.claim())
        return len(found) >= images

    until(all_of_them)
    return sorted(found, key=lambda item: item.ordinal)


def ended(http: httpx.Client, puppet: Puppet, **inputs: Any) -> tuple[dict[str, Any], dict[int, bytes]]:
    """A prediction that ended well, and its files."""
    made = create(http, **inputs).json()
    files = puppet.finish(claimed(puppet, inputs.get("num_outputs", 1)))
    return http.get(made["urls"]["get"]).json(), files


def test_a_prediction_that_ends_in_time_is_the_answer(http: httpx.Client, puppet: Puppet) -> None:
    with ThreadPoolExecutor(1) as pool:
        asked = pool.submit(create, http, "wait", num_outputs=2)
        files = puppet.finish(claimed(puppet, 2))
        answer = asked.result(timeout=120)
    assert (answer.status_code, answer.headers["preference-applied"]) == (201, "wait=60"), answer.text
    made = answer.json()
    assert (made["status"], made["model"], made["error"]) == ("succeeded", "latentfarm/tiny", None)
    assert made["metrics"]["total_time"] >= made["metrics"]["predict_time"] >= 0
    # Another client, without a key.
    assert [httpx.get(link).content for link in made["output"]] == [files[0], files[1]]
    assert http.get(f"/v1/jobs/{made['id']}").json()["state"] == "succeeded"


def test_one_that_does_not_is_starting_whatever_it_is(http: httpx.Client, puppet: Puppet) -> None:
    """Else `replicate.run` would take `processing` for an end, and return no images."""
    create(http, key="k")
    (item,) = claimed(puppet, 1)
    answer = create(http, "wait=1", key="k")
    assert (answer.status_code, answer.json()["status"], answer.json()["output"]) == (201, "starting", None)
    assert answer.headers["idempotency-replayed"] == "true"
    path = f"{PREDICTIONS}/{item.job_id}"
    assert http.get(path).json()["status"] == "processing"
    puppet.fail([item], ErrorClass.USER, "cannot be drawn")
    failed = http.get(path).json()
    assert (failed["status"], failed["output"]) == ("failed", None)
    assert "cannot be drawn" in failed["error"]
    assert failed["completed_at"]


def test_the_wait_begins_with_the_request(http: httpx.Client, monkeypatch: pytest.MonkeyPatch) -> None:
    """The stock client hangs up half a second after it: what it takes to fetch pictures and to keep the job is part of it."""
    earlier: list[float] = []

    class Heard(Patient):
        def __init__(self, *given: Any, earlier_s: float, **named: Any) -> None:
            earlier.append(earlier_s)
            super().__init__(*given, earlier_s=earlier_s, **named)

    def slow(*given: Any) -> RenderSpec:
        time.sleep(1.5)
        return to_spec(*given)

    monkeypatch.setattr(creating, "Patient", Heard)
    monkeypatch.setattr(creating, "to_spec", slow)
    answer = create(http, "wait=1")
    assert (answer.status_code, answer.json()["status"]) == (201, "starting")
    assert earlier[0] >= creating.EARLIER_S + 1.5


def test_a_key_makes_one_job_of_two_requests(http: httpx.Client, repository: Repository) -> None:
    first, second = (create(http, key="k").json() for _ in range(2))
    assert first == second
    assert count(repository, "jobs") == 1
    other = create(http, key="k", seed=6)
    assert (other.status_code, other.json()["invalid_fields"][0]["field"]) == (422, "Idempotency-Key")


def test_a_link_is_good_for_its_image_and_its_time(
    http: httpx.Client, puppet: Puppet, settings: Settings
) -> None:
    shown, files = ended(http, puppet)
    (link,) = shown["output"]
    answer = httpx.get(link)
    assert (answer.content, answer.headers["content-type"]) == (files[0], "image/png")
    token = link.split("/")[-2]
    signer = LinkSigner(settings.s3_secret_access_key.get_secret_value().encode())
    linked = signer.read(token, time.time())
    assert linked is not None
    assert linked.expires_at - time.time() <= settings.link_s

    def status(*change: Any, name: str = "out-0.png") -> int:
        changed = Linked(*change)
        return http.get(f"/replicate/v1/outputs/{signer.token(changed)}/{name}").status_code

    later = int(time.time()) + 60
    job = UUID(shown["id"])
    assert status(job, 0, "", later) == 200
    assert status(job, 0, "", int(time.time()) - 1) == 403
    assert status(job, 1, "", later) == 404
    assert status(job, 0, "other", later) == 404
    assert status(job, 0, "", later, name="out-1.png") == 404
    assert (
        httpx.get(link.replace(token, "A" + token[1:] if token[0] != "A" else "B" + token[1:])).status_code
        == 403
    )
    assert httpx.post(link).status_code == 405


def test_pages_lead_to_all_predictions_and_to_nothing_else(http: httpx.Client, puppet: Puppet) -> None:
    shown, _ = ended(http, puppet)
    refined = http.post(f"/v1/jobs/{shown['id']}/refine", json={"source": "image"}).json()
    made = [create(http, seed=seed).json()["id"] for seed in range(21)]
    first = http.get(PREDICTIONS).json()
    second = http.get(first["next"]).json()
    assert (len(first["results"]), second["next"]) == (20, None)
    found = [*first["results"], *second["results"]]
    assert [one["id"] for one in found] == [*reversed(made), shown["id"]]
    assert found[-1]["output"]
    assert http.get(f"{PREDICTIONS}/{refined['id']}").status_code == 404
    assert http.post(f"{PREDICTIONS}/{refined['id']}/cancel").status_code == 404
    assert http.get(f"/v1/jobs/{refined['id']}").json()["state"] != "cancelled"
    none = http.get(PREDICTIONS, params={"created_before": shown["created_at"]}).json()
    assert none == {"previous": None, "next": None, "results": []}
    wrong = http.get(PREDICTIONS, params={"cursor": "x"})
    assert (wrong.status_code, wrong.json()["invalid_fields"][0]["field"]) == (422, "cursor")


def test_a_prediction_is_taken_back(http: httpx.Client, puppet: Puppet) -> None:
    made = create(http).json()
    assert http.post(made["urls"]["cancel"]).json()["status"] == "canceled"
    assert puppet.claim() == []
    assert http.get(made["urls"]["get"]).json()["completed_at"]


def upload(http: httpx.Client, data: bytes) -> httpx.Response:
    return http.post(FILES, files={"content": ("a name.png", data, "application/octet-stream")})


def test_a_photograph_is_scaled_where_no_size_is_asked_for(http: httpx.Client) -> None:
    photo = upload(http, picture(400, 300)).json()["urls"]["get"]
    sides = [create(http, image=photo, width=None, height=None), create(http, image=photo)]
    specs = [http.get(f"/v1/jobs/{made.json()['id']}").json()["spec"] for made in sides]
    assert [(spec["width"], spec["height"]) for spec in specs] == [(144, 112), (64, 64)]


def test_a_file_is_kept_named_and_taken_back(http: httpx.Client, repository: Repository) -> None:
    red, blue = upload(http, RED).json(), upload(http, BLUE).json()
    assert (red["content_type"], red["size"], red["etag"]) == (
        "image/png",
        len(RED),
        red["checksums"]["sha256"],
    )
    assert http.get(FILES).json()["results"] == [blue, red]
    assert http.get(red["urls"]["get"]).json() == red
    made = create(http, image=red["urls"]["get"])
    assert made.status_code == 201, made.text
    spec = http.get(f"/v1/jobs/{made.json()['id']}").json()["spec"]
    assert (spec["image"], spec["strength"]) == (f"sha256:{red['etag']}", 0.8)
    assert http.delete(red["urls"]["get"]).status_code == 204
    assert [http.request(method, red["urls"]["get"]).status_code for method in ("GET", "DELETE")] == [
        404,
        404,
    ]
    gone = create(http, image=red["urls"]["get"])
    assert (gone.status_code, gone.json()["invalid_fields"][0]["field"]) == (422, "input.image")
    foreign = http.post(
        OF_TINY,
        json={"input": {**INPUT, "image": blue["urls"]["get"]}},
        headers={"X-Latentfarm-Tenant": "other"},
    )
    assert foreign.status_code == 422
    assert count(repository, "jobs") == 1


@pytest.mark.parametrize(
    ("files", "data", "field"),
    [
        ({"content": ("a.png", b"no picture")}, {}, "content"),
        ({"content": ("a.png", RED), "more": ("b.png", RED)}, {}, "more"),
        ({"content": ("a.png", RED)}, {"metadata": "{}"}, "metadata"),
        ({"content": ("a.png", RED)}, {"name": "x"}, "name"),
        ({"content": (None, "text")}, {}, "content"),
    ],
)
def test_a_file_that_cannot_be_taken_leaves_nothing(
    http: httpx.Client, repository: Repository, files: Any, data: dict[str, str], field: str
) -> None:
    answer = http.post(FILES, files=files, data=data)
    assert (answer.status_code, answer.json()["invalid_fields"][0]["field"]) == (422, field)
    assert [count(repository, table) for table in ("uploads", "inputs")] == [0, 0]


def test_the_stock_client_reads_its_files_though_it_sends_its_key_along(
    settings: Settings,
    repository: Repository,
    puppet: Puppet,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Over https outputs are file objects, read with the header of the key: what an object store would refuse."""
    authority = trustme.CA()
    certificate = tmp_path / "certificate.pem"
    made = authority.issue_cert("127.0.0.1")
    certificate.write_bytes(made.private_key_and_cert_chain_pem.bytes())
    authority.cert_pem.write_to_path(tmp_path / "authority.pem")
    monkeypatch.setenv("SSL_CERT_FILE", str(tmp_path / "authority.pem"))
    scopes = [Scope.SUBMIT, Scope.READ]
    key = KeyRing(repository).create(tenant="acme", name="replicate", scopes=scopes)[1]
    keyed = settings.model_copy(update={"require_keys": True})
    with serve(keyed, tls=(str(certificate), str(certificate))) as url:
        client = Client(api_token=key, base_url=f"{url}/replicate")
        client.poll_interval = 0.05
        # It has no way of its own to be closed.
        with client._client, ThreadPoolExecutor(1) as pool:
            inputs = {**INPUT, "image": io.BytesIO(RED)}
            asked = pool.submit(client.run, "latentfarm/tiny", input=inputs, wait=1)
            files = puppet.finish(claimed(puppet, 1))
            (output,) = asked.result(timeout=120)
            assert isinstance(output, FileOutput)
            assert output.read() == files[0]
            assert b"".join(output) == files[0]
