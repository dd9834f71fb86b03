"""Every answer names its request, and what is logged meanwhile has the name too."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

import pytest
import structlog
from starlette.testclient import TestClient

from api.app import create_app
from api.replicate import routes_outputs
from api.request_ids import HEADER, RequestIds
from latentfarm.settings import Settings

if TYPE_CHECKING:
    from starlette.types import Receive, Scope, Send

NOWHERE = Settings(
    database_url="postgresql+psycopg://nobody@127.0.0.1:1/none",
    redis_url="redis://127.0.0.1:1/0",
    s3_endpoint_url="http://127.0.0.1:1",
)


@pytest.mark.parametrize(
    ("path", "status"), [("/healthz", 200), ("/none", 404), ("/v1/files", 503), ("/replicate/v1/files", 503)]
)
def test_answers_of_all_kinds_have_a_name_of_their_own(path: str, status: int) -> None:
    client = TestClient(create_app(NOWHERE), base_url="http://localhost", raise_server_exceptions=False)
    answers = [client.get(path, headers={HEADER: "mine"}) for _ in range(2)]
    assert [answer.status_code for answer in answers] == [status, status]
    names = {answer.headers[HEADER] for answer in answers}
    assert len(names) == 2
    assert all(name.startswith("req_") for name in names)


def test_what_nobody_foresaw_is_named_in_its_answer_and_in_the_log() -> None:
    app = create_app(NOWHERE)

    @app.get("/broken")
    def broken() -> None:
        raise RuntimeError

    with structlog.testing.capture_logs() as lines:
        answer = TestClient(app, base_url="http://localhost", raise_server_exceptions=False).get("/broken")
    assert answer.status_code == 500
    assert [line["request_id"] for line in lines] == [answer.headers[HEADER]]
    assert answer.headers["X-Content-Type-Options"] == "nosniff"


def test_a_link_that_is_leave_enough_is_not_in_the_log(monkeypatch: pytest.MonkeyPatch) -> None:
    app = create_app(NOWHERE)
    monkeypatch.setattr(routes_outputs, "signer_of", lambda _: 1 // 0)
    client = TestClient(app, base_url="http://localhost", raise_server_exceptions=False)
    with structlog.testing.capture_logs() as lines:
        assert client.get("/replicate/v1/outputs/secret-leave/0.png").status_code == 500
    assert [line["path"] for line in lines] == ["/replicate/v1/outputs/{token}/0.png"]
    assert "secret-leave" not in str(lines)


def test_what_is_logged_meanwhile_has_it_too_also_in_a_thread() -> None:
    seen: list[dict[str, Any]] = []

    async def app(_scope: Scope, _receive: Receive, send: Send) -> None:
        seen.append(structlog.contextvars.get_contextvars())
        await asyncio.to_thread(lambda: seen.append(structlog.contextvars.get_contextvars()))
        await send({"type": "http.response.start", "status": 204, "headers": []})
        await send({"type": "http.response.body", "body": b""})

    answer = TestClient(RequestIds(app)).get("/")
    assert [one["request_id"] for one in seen] == [answer.headers[HEADER]] * 2
    assert "request_id" not in structlog.contextvars.get_contextvars()
