"""Many keys, each posted by several at once: one job for each."""

from __future__ import annotations

import itertools
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING

import httpx
import pytest

from tests.integration.serving import serve

if TYPE_CHECKING:
    from latentfarm.settings import Settings

RACING = 8


@pytest.mark.parametrize("keys", [25, pytest.param(500, marks=pytest.mark.long)])
def test_keys_that_eight_post_at_once_make_a_job_each(settings: Settings, keys: int) -> None:
    with serve(settings) as url, httpx.Client(base_url=url, timeout=60) as http:

        def post(key: int) -> tuple[int, str]:
            # The first may hold the key for longer than others wait for it; then they come again, as clients do.
            for _ in range(20):
                answer = http.post(
                    "/v1/jobs",
                    json={"prompt": "x", "seed": key, "lane": "bulk"},
                    headers={"Idempotency-Key": f"key {key}"},
                )
                if answer.status_code != 409:
                    break
            assert answer.status_code == 202, answer.text
            return key, answer.json()["id"]

        posts = itertools.chain.from_iterable([key] * RACING for key in range(keys))
        with ThreadPoolExecutor(2 * RACING) as pool:
            answers = list(pool.map(post, posts))
        assert len(answers) == keys * RACING
        assert len(set(answers)) == len({job for _, job in answers}) == keys
        stored, after = 0, None
        while True:
            page = http.get("/v1/jobs", params={"limit": 100} | ({"after": after} if after else {})).json()
            stored += len(page["data"])
            if (after := page["next_cursor"]) is None:
                break
        assert stored == keys
