"""OpenAI's routes of a real API, over a puppet in place of the workers: waiting, ends, and clients that go away."""

from __future__ import annotations

import base64
import contextlib
import json
import socket
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

import httpx
import pytest

from latentfarm.errors import ErrorClass
from tests.integration.pictures import count
from tests.integration.serving import Puppet, serve

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from latentfarm.records import Claimed
    from latentfarm.repository.facade import Repository
    from latentfarm.settings import Settings

GENERATIONS = "/v1/images/generations"
BODY = {"prompt": "a red circle", "size": "64x64", "seed": 5}


@pytest.fixture
def url(settings: Settings) -> Iterator[str]:
    with serve(settings) as url:
        yield url


@pytest.fixture
def http(url: str) -> Iterator[httpx.Client]:
    with httpx.Client(base_url=url, timeout=120) as client:
        yield client


def until(condition: Callable[[], Any], patience_s: float = 60.0) -> Any:
    end = time.monotonic() + patience_s
    while not (found := condition()):
        assert time.monotonic() < end
        time.sleep(0.05)
    return found


def claimed(puppet: Puppet, images: int) -> list[Claimed]:
    found: list[Claimed] = []

    def all_of_them() -> bool:
        found.extend(puppet.claim())
        return len(found) >= images

    until(all_of_them)
    return sorted(found, key=lambda item: item.ordinal)


def asking(http: httpx.Client, act: Callable[[], Any], **fields: Any) -> httpx.Response:
    """The answer to a request, while `act` does what workers do."""
    headers = fields.pop("headers", {})
    with ThreadPoolExecutor(1) as pool:
        asked = pool.submit(http.post, GENERATIONS, json={**BODY, **fields}, headers=headers)
        act()
        return asked.result(timeout=120)


@pytest.mark.parametrize("sizes", [(1, 2, 3), (65_536, 65_535, 200_003)])
def test_images_come_in_base64_whole_and_in_order(
    http: httpx.Client, puppet: Puppet, sizes: tuple[int, ...]
) -> None:
    files = {index: bytes(number % 251 for number in range(size)) for index, size in enumerate(sizes)}
    act = lambda: puppet.finish(claimed(puppet, 3), files)  # noqa: E731 - as short as what it does
    answer = asking(http, act, n=3, quality="low", output_format="webp")
    assert answer.status_code == 200, answer.text
    assert int(answer.headers["content-length"]) == len(answer.content)
    shown = answer.json()
    assert [base64.b64decode(image["b64_json"]) for image in shown["data"]] == list(files.values())
    assert [image["seed"] for image in shown["data"]] == [5, 6, 7]
    assert (shown["size"], shown["quality"], shown["output_format"]) == ("64x64", "low", "webp")
    assert http.get(f"/v1/jobs/{shown['job']}").json()["state"] == "succeeded"


def test_links_lead_to_the_images(http: httpx.Client, puppet: Puppet) -> None:
    files: dict[int, bytes] = {}
    act = lambda: files.update(puppet.finish(claimed(puppet, 2)))  # noqa: E731 - as short as what it does
    shown = asking(http, act, n=2, response_format="url").json()
    assert [httpx.get(image["url"]).content for image in shown["data"]] == [files[0], files[1]]
    assert all("b64_json" not in image for image in shown["data"])


def test_a_stream_shows_each_image_once_those_before_it_are_done(http: httpx.Client, puppet: Puppet) -> None:
    body = {**BODY, "n": 3, "stream": True, "partial_images": 2}
    with http.stream("POST", GENERATIONS, json=body) as answer:
        assert answer.headers["content-type"].startswith("text/event-stream")
        lines = answer.iter_lines()
        first, second, third = claimed(puppet, 3)
        files = puppet.finish([second])
        files |= puppet.finish([first])
        seen = [told(lines), told(lines)]
        files |= puppet.finish([third])
        seen.append(told(lines))
        assert list(lines)[-1:] in ([], [""])
    assert [event["type"] for event in seen] == ["image_generation.completed"] * 3
    assert [base64.b64decode(event["b64_json"]) for event in seen] == [files[0], files[1], files[2]]
    assert [event["seed"] for event in seen] == [5, 6, 7]
    assert seen[0]["usage"]["total_tokens"] == 0


def told(lines: Iterator[str]) -> dict[str, Any]:
    """The data of the next event."""
    found: dict[str, Any] = json.loads(
        next(line for line in lines if line.startswith("data: ")).removeprefix("data: ")
    )
    return found


def test_one_image_that_fails_fails_the_request(http: httpx.Client, puppet: Puppet) -> None:
    def act() -> None:
        first, second = claimed(puppet, 2)
        puppet.finish([first])
        puppet.fail([second], ErrorClass.USER, "cannot be drawn")

    answer = asking(http, act, n=2)
    assert (answer.status_code, answer.headers["x-should-retry"]) == (500, "false")
    error = answer.json()["error"]
    assert (error["type"], error["code"]) == ("server_error", "render_failed")
    assert "image 1 of job" in error["message"]
    assert "cannot be drawn (1 of 2 images failed)" in error["message"]


def test_a_stream_tells_of_a_failure_after_the_images_that_are_there(
    http: httpx.Client, puppet: Puppet
) -> None:
    with http.stream("POST", GENERATIONS, json={**BODY, "n": 2, "stream": True}) as answer:
        lines = answer.iter_lines()
        first, second = claimed(puppet, 2)
        puppet.finish([first])
        assert told(lines)["seed"] == 5
        puppet.fail([second], ErrorClass.USER, "cannot be drawn")
        assert "cannot be drawn" in told(lines)["error"]["message"]


def test_a_job_that_somebody_cancels_is_a_conflict(http: httpx.Client, puppet: Puppet) -> None:
    def act() -> None:
        (one,) = claimed(puppet, 1)
        http.post(f"/v1/jobs/{one.job_id}/cancel")

    answer = asking(http, act)
    assert (answer.status_code, answer.json()["error"]["code"]) == (409, "cancelled")
    assert answer.headers["x-should-retry"] == "false"


@pytest.mark.parametrize("keyed", [False, True])
def test_the_wait_has_an_end(settings: Settings, repository: Repository, *, keyed: bool) -> None:
    headers = {"Idempotency-Key": "k"} if keyed else {}
    short = settings.model_copy(update={"openai_wait_s": 1.0})
    with serve(short) as url, httpx.Client(base_url=url, timeout=60) as http:
        answer = http.post(GENERATIONS, json=BODY, headers=headers)
        assert (answer.status_code, answer.json()["error"]["code"]) == (504, "too_late")
        assert answer.headers.get("x-should-retry") == (None if keyed else "false")
        (job,) = http.get("/v1/jobs").json()["data"]
    assert (job["state"] == "cancelled") == (not keyed)


def go_away(url: str, body: dict[str, Any], *headers: str) -> None:
    """Asks, reads nothing, and closes the connection once the job is there."""
    parts, data = urlsplit(url), json.dumps(body).encode()
    lines = [f"POST {GENERATIONS} HTTP/1.1", f"Host: {parts.netloc}", "Content-Type: application/json"]
    lines += [f"Content-Length: {len(data)}", *headers]
    with socket.create_connection((parts.hostname, parts.port)) as connection:
        connection.sendall("\r\n".join(lines).encode() + b"\r\n\r\n" + data)
        with httpx.Client(base_url=url, timeout=60) as http:
            until(lambda: http.get("/v1/jobs").json()["data"])


@pytest.mark.parametrize("stream", [False, True])
def test_a_client_that_goes_away_takes_its_job_along(http: httpx.Client, url: str, *, stream: bool) -> None:
    go_away(url, {**BODY, "stream": stream})
    until(lambda: [job["state"] for job in http.get("/v1/jobs").json()["data"]] == ["cancelled"])


@pytest.mark.parametrize("stream", [False, True])
def test_a_job_with_a_key_waits_for_who_comes_again(
    http: httpx.Client, url: str, puppet: Puppet, repository: Repository, *, stream: bool
) -> None:
    go_away(url, {**BODY, "stream": stream}, "Idempotency-Key: k")
    # Longer than it takes to notice that the client has gone.
    time.sleep(3)
    act = lambda: puppet.finish(claimed(puppet, 1))  # noqa: E731 - as short as what it does
    answer = asking(http, act, headers={"Idempotency-Key": "k"})
    assert (answer.status_code, answer.headers["idempotency-replayed"]) == (200, "true")
    assert count(repository, "jobs") == 1
    other = http.post(GENERATIONS, json={**BODY, "seed": 6}, headers={"Idempotency-Key": "k"})
    assert (other.status_code, other.json()["error"]["code"]) == (400, "idempotency_mismatch")


def test_an_api_that_stops_answers_those_who_wait(settings: Settings, repository: Repository) -> None:
    with contextlib.ExitStack() as stack:
        server = contextlib.ExitStack()
        url = server.enter_context(serve(settings))
        http = stack.enter_context(httpx.Client(base_url=url, timeout=60))
        pool = stack.enter_context(ThreadPoolExecutor(1))
        asked = pool.submit(http.post, GENERATIONS, json=BODY)
        until(lambda: count(repository, "jobs"))
        time.sleep(0.5)
        threading.Thread(target=server.close).start()
        answer = asked.result(timeout=60)
    assert (answer.status_code, answer.json()["error"]["code"]) == (503, "stopping")
    assert int(answer.headers["retry-after"]) > 0
