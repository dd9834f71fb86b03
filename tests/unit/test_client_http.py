"""The client against a small server that answers as a test tells it."""

from __future__ import annotations

import json
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import TYPE_CHECKING, Any

import pytest

from latentfarm import client_http
from latentfarm.client import Client
from latentfarm.client_http import Http
from latentfarm.errors import (
    Conflict,
    IdempotencyMismatch,
    InvalidInput,
    LatentfarmError,
    MalformedJson,
    NotFound,
    NotSupported,
    RenderError,
    ServiceUnavailable,
    SourceGone,
    UnknownModel,
)
from latentfarm.refinement import RefineRequest
from latentfarm.spec import RenderSpec

if TYPE_CHECKING:
    from collections.abc import Iterator

Answer = tuple[int, dict[str, Any]]


class Scripted(ThreadingHTTPServer):
    """Gives the answers in turn, and the last one for ever; None cuts the connection."""

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.script: list[Answer | None] = []
        self.asked: list[tuple[str, str, dict[str, str], bytes]] = []
        self.url = f"http://127.0.0.1:{self.server_port}"


class Handler(BaseHTTPRequestHandler):
    server: Scripted

    def answer(self) -> None:
        body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
        self.server.asked.append((self.command, self.path, dict(self.headers), body))
        script = self.server.script
        given = script.pop(0) if len(script) > 1 else script[0]
        if given is None:
            self.close_connection = True
            return
        status, document = given
        text = json.dumps(document).encode()
        self.send_response(status)
        self.send_header("Content-Length", str(len(text)))
        self.end_headers()
        self.wfile.write(text)

    do_GET = do_POST = answer  # noqa: N815 - the names that http.server calls

    def log_message(self, *_: object) -> None:
        """Nothing."""


@pytest.fixture
def server() -> Iterator[Scripted]:
    with Scripted() as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        yield server
        server.shutdown()
        thread.join()


@pytest.fixture(autouse=True)
def _short_pauses(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(client_http, "FIRST_PAUSE_S", 0.001)
    monkeypatch.setattr(client_http, "LONGEST_PAUSE_S", 0.001)


def problem(status: int, code: str, *errors: dict[str, str]) -> Answer:
    document = {"type": f"urn:latentfarm:problem:{code}", "title": "t", "status": status, "detail": "why"}
    return status, {**document, "instance": "/", "errors": list(errors)}


JOB = {
    "id": "01890000-0000-7000-8000-000000000000",
    "kind": "single",
    "state": "queued",
    "lane": "interactive",
    "priority": 0,
    "model": "tiny",
    "prompt": "a",
    "seed": 1,
    "num_images": 1,
    "remaining": 1,
    "failed": 0,
    "metadata": {},
    "created_at": "2026-01-01T00:00:00Z",
    "url": "u",
    "spec": {},
    "events_url": "e",
    "counts": {},
    "images": [],
    "a_field_of_a_later_version": 1,
}


@pytest.mark.parametrize(
    ("answer", "kind"),
    [
        (problem(422, "invalid", {"field": "width", "code": "invalid", "message": "m"}), InvalidInput),
        (problem(422, "x", {"field": "loras", "code": "not_supported", "message": "m"}), NotSupported),
        (problem(422, "x", {"field": "model", "code": "unknown_model", "message": "m"}), UnknownModel),
        (
            problem(422, "x", {"field": "k", "code": "idempotency_mismatch", "message": "m"}),
            IdempotencyMismatch,
        ),
        (problem(400, "x", {"field": "body", "code": "malformed_json", "message": "m"}), MalformedJson),
        (problem(404, "not_found"), NotFound),
        (problem(409, "not_ready"), Conflict),
        (problem(409, "latents_gone"), SourceGone),
        (problem(410, "failed"), RenderError),
        (problem(500, "internal"), LatentfarmError),
        ((418, {"not": "a problem"}), LatentfarmError),
    ],
)
def test_a_problem_is_raised_as_our_error_and_not_repeated(
    server: Scripted, answer: Answer, kind: type[LatentfarmError]
) -> None:
    server.script = [answer]
    with pytest.raises(LatentfarmError) as raised:
        Http(server.url, timeout_s=5, retry_s=5).request("GET", "/")
    assert type(raised.value) is kind
    assert len(server.asked) == 1


def test_field_and_limit_come_through(server: Scripted) -> None:
    error = {"field": "width", "code": "invalid", "message": "too wide", "allowed": "8 to 64"}
    server.script = [problem(422, "invalid", error)]
    with pytest.raises(InvalidInput, match=r"^width: too wide \(allowed: 8 to 64\)$") as raised:
        Http(server.url, timeout_s=5, retry_s=0).request("GET", "/")
    assert (raised.value.field, raised.value.allowed) == ("width", "8 to 64")


def test_a_submit_is_repeated_under_one_key(server: Scripted) -> None:
    server.script = [None, problem(503, "service_unavailable"), problem(409, "conflict"), None, (202, JOB)]
    with Client(server.url, retry_s=5) as client:
        job = client.submit(RenderSpec(prompt="a"))
    assert str(job.id) == JOB["id"]
    assert len(server.asked) == 5
    assert len({headers["Idempotency-Key"] for _, _, headers, _ in server.asked}) == 1
    assert {body for _, _, _, body in server.asked} == {b'{"prompt":"a"}'}


def test_two_submits_have_two_keys(server: Scripted) -> None:
    server.script = [(202, JOB)]
    with Client(server.url) as client:
        client.submit({"prompt": "a"})
        client.submit({"prompt": "a"})
        client.submit({"prompt": "a"}, idempotency_key="mine")
    keys = [headers["Idempotency-Key"] for _, _, headers, _ in server.asked]
    assert len(set(keys)) == 3
    assert keys[2] == "mine"


def test_refining_sends_what_was_said_and_nothing_else(server: Scripted) -> None:
    server.script, job_id = [None, (202, JOB)], str(JOB["id"])
    with Client(server.url, retry_s=5) as client:
        client.refine(job_id)
        client.refine(client.get(job_id), RefineRequest(source="image", refiner={"strength": 0.5}))
        with pytest.raises(InvalidInput, match=r"refiner\.strength"):
            client.refine(job_id, {"refiner": {"strength": 2}})
    sent = [(method, path, body) for method, path, _, body in server.asked if method == "POST"]
    path = f"/v1/jobs/{job_id}/refine"
    body = b'{"source":"image","refiner":{"strength":0.5}}'
    assert sent == [("POST", path, b"{}")] * 2 + [("POST", path, body)]
    assert len({headers.get("Idempotency-Key") for _, _, headers, _ in server.asked} - {None}) == 2


def test_an_api_that_stays_away_is_given_up(server: Scripted) -> None:
    server.script = [problem(503, "service_unavailable")]
    with pytest.raises(ServiceUnavailable, match="why"):
        Http(server.url, timeout_s=5, retry_s=0.05).request("GET", "/")
    assert len(server.asked) > 1


def test_nobody_there_is_said_in_one_line() -> None:
    with pytest.raises(ServiceUnavailable, match=r"no answer from http://127.0.0.1:1: "):
        Http("http://127.0.0.1:1", timeout_s=5, retry_s=0).request("GET", "/")


@pytest.mark.parametrize("address", ["127.0.0.1:8400", "ftp://127.0.0.1", "http://[::1", ""])
def test_what_is_no_address_is_refused_at_once(address: str) -> None:
    with pytest.raises(InvalidInput, match="base_url"):
        Http(address, timeout_s=5, retry_s=60).request("GET", "/")


def test_a_bad_spec_is_refused_before_anything_is_sent(server: Scripted) -> None:
    with Client(server.url) as client, pytest.raises(InvalidInput, match="num_inference_steps"):
        client.submit({"prompt": "a", "num_inference_steps": 0})
    assert server.asked == []


def test_an_id_cannot_leave_its_place_in_the_path(server: Scripted) -> None:
    server.script = [problem(404, "not_found")]
    with Client(server.url) as client, pytest.raises(NotFound):
        client.get("../models")
    assert server.asked[0][1].startswith("/v1/jobs/..%2Fmodels")


def test_the_environment_names_the_api(server: Scripted, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LATENTFARM_API_URL", server.url)
    server.script = [(200, {"data": []})]
    with Client() as client:
        assert client.models() == ()
