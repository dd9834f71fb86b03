"""`python -m api` as a process of its own: port 0, streams, and an orderly stop."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from typing import TYPE_CHECKING

import httpx
import pytest

from api.__main__ import GRACE_S
from latentfarm.client import Client
from tests.integration.serving import Puppet

if TYPE_CHECKING:
    from collections.abc import Iterator

    from latentfarm.repository.facade import Repository
    from latentfarm.storage import S3Store


@pytest.fixture
def api(environment: dict[str, str]) -> Iterator[subprocess.Popen[str]]:
    with subprocess.Popen(
        [sys.executable, "-m", "api"],
        env={**os.environ, **environment, "LATENTFARM_API_PORT": "0"},
        stdout=subprocess.PIPE,
        text=True,
    ) as process:
        yield process
        process.kill()


def address(process: subprocess.Popen[str]) -> str:
    assert process.stdout is not None
    url = process.stdout.readline().strip()
    end = time.monotonic() + 30
    while time.monotonic() < end:
        try:
            if httpx.get(f"{url}/healthz").is_success:
                return url
        except httpx.TransportError:
            time.sleep(0.05)
    raise AssertionError(f"{url!r} does not answer")


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_an_open_stream_does_not_delay_the_stop(api: subprocess.Popen[str], number: signal.Signals) -> None:
    url = address(api)
    with Client(url) as client:
        job = client.submit({"prompt": "a"})
    with httpx.stream("GET", f"{url}/v1/jobs/{job.id}/events", timeout=30) as answer:
        lines = answer.iter_lines()
        assert next(lines) == "retry: 1000"
        started = time.monotonic()
        api.send_signal(number)
        assert list(lines) == [""]
    assert api.wait(20) == 0
    # Less than the server would wait for it.
    assert time.monotonic() - started < GRACE_S


def test_answers_do_not_wait_for_acknowledgements(api: subprocess.Popen[str]) -> None:
    with httpx.Client(base_url=address(api)) as http:
        times = [http.get("/healthz").elapsed.total_seconds() for _ in range(41)]
    # With Nagle's algorithm on, each would take the 40 ms of a delayed acknowledgement.
    assert sorted(times)[20] < 0.03


def test_readers_and_jobs_live_through_a_restart(
    api: subprocess.Popen[str], environment: dict[str, str], repository: Repository, store: S3Store
) -> None:
    url = address(api)
    with Client(url) as client:
        job = client.submit({"prompt": "a"})
        puppet = Puppet(repository, store)
        claimed = puppet.claim()
        events = client.events(job)
        assert next(events).type == "job.running"
        api.kill()
        api.wait(10)
        puppet.show(claimed)
        again = subprocess.Popen(
            [sys.executable, "-m", "api"],
            env={**os.environ, **environment, "LATENTFARM_API_PORT": url.rsplit(":", 1)[1]},
            stdout=subprocess.DEVNULL,
        )
        try:
            assert [event.type for event in events] == ["image.succeeded", "job.succeeded"]
            assert client.get(job).state == "succeeded"
        finally:
            again.kill()
            again.wait(10)
