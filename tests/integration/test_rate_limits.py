"""Requests that come too often: counted in Redis per key or tenant, refused with the time to come again; and without Redis, taken."""

from __future__ import annotations

import contextlib
import re
import socket
from typing import TYPE_CHECKING, Any

import httpx
import pytest
from structlog.testing import capture_logs

from latentfarm.api_keys import Scope, written
from latentfarm.client import Client
from latentfarm.client_http import RateLimited, error_of
from latentfarm.errors import InvalidInput
from latentfarm.key_ring import KeyRing
from latentfarm.rate_limiter import RateLimiter
from latentfarm.rates import parse_rates
from tests.integration.serving import serve

if TYPE_CHECKING:
    from collections.abc import Iterator

    from latentfarm.repository.facade import Repository
    from latentfarm.settings import Settings

ITEM = r'"(second|minute|hour)";[rq]=\d+;[tw]=\d+'
"""A string with two whole numbers as parameters: an item of a structured field."""


@contextlib.contextmanager
def api(settings: Settings, **fields: Any) -> Iterator[httpx.Client]:
    with serve(settings.model_copy(update=fields)) as url, httpx.Client(base_url=url, timeout=60) as client:
        yield client


def bearer(repository: Repository, rate: str | None = None) -> dict[str, str]:
    _, text = KeyRing(repository).create(tenant="a", name="k", scopes=[Scope.ADMIN], rate=rate)
    return {"Authorization": f"Bearer {text}"}


def statuses(http: httpx.Client, count: int, headers: dict[str, str] | None = None) -> list[int]:
    return [http.get("/v1/jobs", headers=headers).status_code for _ in range(count)]


def test_one_too_many_is_refused_and_nobody_else(settings: Settings, repository: Repository) -> None:
    first, second = bearer(repository), bearer(repository)
    with api(settings, rate_limit="100/second;5/minute") as http:
        shown = http.get("/v1/jobs", headers=first)
        assert shown.headers["RateLimit-Policy"] == '"second";q=100;w=1, "minute";q=5;w=60'
        assert shown.headers["RateLimit"].startswith('"second";r=99;t=1, "minute";r=4;t=')
        assert re.fullmatch(f"{ITEM}, {ITEM}", shown.headers["RateLimit"])
        assert statuses(http, 4, first) == [200] * 4
        refused = http.get("/v1/jobs", headers=first)
        assert refused.status_code == 429
        assert refused.json()["type"] == "urn:latentfarm:problem:rate_limited"
        assert '"minute";r=0' in refused.headers["RateLimit"]
        assert 1 <= int(refused.headers["Retry-After"]) <= 60
        assert isinstance(error_of(refused), RateLimited)
        # What is no success tells it too; and each key, and each tenant without one, has a count of its own.
        missing = http.get("/v1/jobs/none", headers=second)
        assert (missing.status_code, "RateLimit" in missing.headers) == (404, True)
        assert statuses(http, 6) == [200] * 5 + [429]
        assert statuses(http, 1, {"X-Latentfarm-Tenant": "b"}) == [200]
        assert 'latentfarm_rate_limited_total{why="rate"} 2.0' in http.get("/metrics", headers=second).text
        assert "RateLimit" not in http.get("/healthz").headers


def test_two_processes_count_together(settings: Settings) -> None:
    with api(settings, rate_limit="4/minute") as one, api(settings, rate_limit="4/minute") as other:
        assert statuses(one, 2) + statuses(other, 3) == [200] * 4 + [429]


def test_a_key_may_have_a_rate_of_its_own(settings: Settings, repository: Repository) -> None:
    free, slow = bearer(repository, "none"), bearer(repository, "2/hour")
    with api(settings, rate_limit="3/minute") as http:
        assert statuses(http, 5, free) == [200] * 5
        assert statuses(http, 3, slow) == [200, 200, 429]
        made = http.post(
            "/v1/keys", json={"name": "x", "scopes": ["read"], "rate": "1/minute"}, headers=free
        ).json()
        assert made["rate"] == "1/minute"
        assert statuses(http, 2, {"Authorization": f"Bearer {made['key']}"}) == [200, 429]
        rotated = http.post(f"/v1/keys/{made['prefix']}/rotate", json={}, headers=free).json()
        assert rotated["rate"] == "1/minute"
        for bad in ("5/day", "1/hour;2/hour"):
            refused = http.post("/v1/keys", json={"name": "x", "scopes": ["read"], "rate": bad}, headers=free)
            assert (refused.status_code, refused.json()["errors"][0]["field"]) == (422, "rate")
    with pytest.raises(InvalidInput, match="rate"):
        bearer(repository, "often")


def test_what_a_short_window_refuses_longer_ones_do_not_count(settings: Settings) -> None:
    """Else a second too busy would use up the minute, and who comes back when told is refused all the same."""
    limiter = RateLimiter(settings.redis_url)
    rates = parse_rates("1000/minute;2/second;5000/hour", "rate")
    burst = [limiter.hit(rates, "key/short") for _ in range(60)]
    limiter.close()
    taken = sum(all(one.allowed for one in found) for found in burst)
    assert 2 <= taken < 60
    minute, second, hour = burst[-1]
    assert [one.rate.window for one in burst[-1]] == ["minute", "second", "hour"]
    assert (minute.remaining, hour.remaining) == (1000 - taken, 5000 - taken)
    assert (minute.allowed, hour.allowed) == (True, True)
    assert second.reset_s == 1


def test_the_body_of_a_refused_request_is_not_read(settings: Settings) -> None:
    with api(settings, rate_limit="1/minute") as http:
        assert statuses(http, 1) == [200]
        with socket.create_connection((http.base_url.host, http.base_url.port or 0), timeout=30) as raw:
            head = "POST /v1/jobs HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\nContent-Length: 1000\r\n\r\n"
            raw.sendall(head.encode())
            assert raw.recv(12) == b"HTTP/1.1 429"


def test_openai_clients_are_told_in_their_words(settings: Settings) -> None:
    with api(settings, rate_limit="1/minute") as http:
        assert statuses(http, 1) == [200]
        refused = http.post("/v1/images/generations", json={"prompt": "x"})
        assert (refused.status_code, refused.json()["error"]["type"]) == (429, "rate_limit_error")
        assert "Retry-After" in refused.headers


def test_without_redis_every_request_passes_and_somebody_is_told(settings: Settings) -> None:
    with socket.socket() as unused, capture_logs() as logs:
        unused.bind(("127.0.0.1", 0))
        away = f"redis://127.0.0.1:{unused.getsockname()[1]}/0"
        with api(settings, rate_limit="1/minute", redis_url=away) as http:
            posts = [http.post("/v1/jobs", json={"prompt": "x", "lane": "bulk"}) for _ in range(3)]
            assert [post.status_code for post in posts] == [202] * 3
            assert "RateLimit" not in posts[0].headers
            counted = re.search(r"latentfarm_rate_limit_errors_total (\d+)", http.get("/metrics").text)
            assert counted is not None
            assert int(counted[1]) >= 3
    assert [log["log_level"] for log in logs if log["event"] == "rate_limits_open"] == ["warning"]


def test_on_loopback_nothing_is_limited_unless_it_is_said(settings: Settings, repository: Repository) -> None:
    with api(settings) as http:
        assert "RateLimit" not in http.get("/v1/jobs").headers
    with api(settings, api_host="0.0.0.0") as http:
        policy = http.get("/v1/jobs", headers=bearer(repository)).headers["RateLimit-Policy"]
        assert policy == '"second";q=100;w=1, "minute";q=3000;w=60'


def test_an_address_that_guesses_is_not_listened_to(settings: Settings, repository: Repository) -> None:
    good, late = bearer(repository), bearer(repository)
    wrong = {"Authorization": f"Bearer {written('abcd1234', 's' * 43)}"}
    with api(settings, auth_failure_limit="3/hour") as http:
        assert statuses(http, 1, good) == [200]
        assert statuses(http, 4, wrong) == [401] * 3 + [429]
        refused = http.get("/v1/jobs", headers=wrong)
        assert (refused.json()["type"], int(refused.headers["Retry-After"]) > 0) == (
            "urn:latentfarm:problem:rate_limited",
            True,
        )
        # A key that was good of late goes on; any other one is not even looked up.
        assert statuses(http, 2, good) == [200, 200]
        assert statuses(http, 1, late) == [429]
        assert 'latentfarm_rate_limited_total{why="failed_keys"} 3.0' in http.get("/metrics").text


def test_the_client_comes_again_by_itself(settings: Settings) -> None:
    with api(settings, rate_limit="1/second") as http, Client(str(http.base_url)) as client:
        for _ in range(3):
            assert list(client.tenants.all()) == []
