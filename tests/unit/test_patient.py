"""Answers that wait: how long is asked for, and that a deadline heeds it."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any
from uuid import UUID

import pytest
from anyio import to_thread
from starlette.applications import Starlette
from starlette.responses import PlainTextResponse
from starlette.routing import Route
from starlette.testclient import TestClient

from api.deadline import Deadline
from api.patient import Patient, asked_wait
from latentfarm.errors import InvalidInput

if TYPE_CHECKING:
    from collections.abc import Callable

JOB = UUID(int=7)


@pytest.mark.parametrize(
    ("headers", "seconds"),
    [
        ([], None),
        ([""], None),
        (["respond-async"], None),
        (["wait=1"], 1),
        (["WAIT = 60"], 60),
        (['respond-async, wait="10"; foo=bar'], 10),
        (["handling=lenient", "wait=07"], 7),
        (["waiting=90"], None),
    ],
)
def test_the_wait_is_found_among_other_preferences(headers: list[str], seconds: int | None) -> None:
    assert asked_wait(headers) == seconds


@pytest.mark.parametrize(
    "text", ["wait", "wait=", "wait=0", "wait=61", "wait=-1", "wait=1.5", "wait=x", "wait=²"]
)
def test_a_wait_that_is_none_is_refused(text: str) -> None:
    with pytest.raises(InvalidInput, match="Prefer"):
        asked_wait([text])
    with pytest.raises(InvalidInput, match="Prefer"):
        asked_wait(["wait=1", "wait=2"])


class Hub:
    """Tells of nothing, and knows who listens."""

    def __init__(self) -> None:
        self.deliver: list[Callable[[Any], None]] = []
        self.watched = asyncio.Event()
        self.closed = 0

    def watch(self, job_id: UUID, deliver: Callable[[Any], None]) -> Hub:
        self.deliver.append(deliver)
        self.watched.set()
        return self

    def close(self) -> None:
        self.closed += 1


class Jobs:
    """The job is still running."""

    def get_job(self, job_id: UUID, *, tenant: str) -> None:
        return None


def patient(hub: Hub, seconds: int = 1) -> Patient:
    def ended() -> PlainTextResponse:
        raise AssertionError("it has not ended")

    accepted = PlainTextResponse("accepted", 202)
    return Patient(hub, Jobs(), (JOB, ""), seconds, accepted=accepted, ended=ended)  # type: ignore[arg-type]


def test_an_answer_that_waits_on_purpose_is_not_late() -> None:
    hub = Hub()

    async def wait(_: object) -> Patient:
        return patient(hub)

    app = Starlette(routes=[Route("/wait", wait)])
    app.add_middleware(Deadline, seconds=0.1)
    with TestClient(app) as client:
        answer = client.get("/wait")
    assert (answer.status_code, answer.text, answer.headers["preference-applied"]) == (
        202,
        "accepted",
        "wait=1",
    )
    assert hub.closed == 1


def run(hub: Hub, then: Callable[[Hub, asyncio.Queue[dict[str, Any]]], None]) -> list[dict[str, Any]]:
    """What is sent to a client that would wait for a minute; `then` runs once the hub watches."""
    sent: list[dict[str, Any]] = []

    async def go() -> None:
        came: asyncio.Queue[dict[str, Any]] = asyncio.Queue()

        async def send(message: Any) -> None:
            sent.append(message)

        answering = asyncio.ensure_future(patient(hub, 60)({"type": "http"}, came.get, send))
        await asyncio.wait_for(hub.watched.wait(), 10)
        # The look at the job, which is a thread's, is over by then.
        while to_thread.current_default_thread_limiter().borrowed_tokens:  # noqa: ASYNC110 - anyio has no event for it
            await asyncio.sleep(0.01)
        then(hub, came)
        await asyncio.wait_for(answering, 10)

    asyncio.run(go())
    return sent


def test_a_client_that_leaves_leaves_nobody_waiting() -> None:
    hub = Hub()
    run(hub, lambda _, came: came.put_nowait({"type": "http.disconnect"}))
    assert hub.closed == 1


def test_who_waits_holds_no_thread() -> None:
    held: list[float] = []

    def then(hub: Hub, _: object) -> None:
        held.append(to_thread.current_default_thread_limiter().borrowed_tokens)
        hub.deliver[0](None)

    run(Hub(), then)
    assert held == [0]


def test_a_process_that_stops_answers_at_once() -> None:
    hub = Hub()
    sent = run(hub, lambda hub, _: hub.deliver[0](None))
    assert (sent[0]["status"], hub.closed) == (202, 1)
