"""A request of OpenAI's routes that comes again when its images are kept no longer."""

from __future__ import annotations

from typing import TYPE_CHECKING

import httpx
from sqlalchemy import text

from latentfarm.repository import retaining
from tests.integration.serving import Puppet, serve
from tests.integration.test_api_openai import BODY, GENERATIONS, asking, claimed

if TYPE_CHECKING:
    from latentfarm.repository.facade import Repository
    from latentfarm.settings import Settings
    from latentfarm.storage import S3Store


def test_a_key_whose_images_are_kept_no_longer_is_told_so(
    settings: Settings, repository: Repository, store: S3Store
) -> None:
    headers, puppet = {"Idempotency-Key": "k"}, Puppet(repository, store)
    act = lambda: puppet.finish(claimed(puppet, 1))  # noqa: E731 - as short as what it does
    with serve(settings) as url, httpx.Client(base_url=url, timeout=120) as http:
        assert asking(http, act, headers=headers, retain_days=1.0).status_code == 200
        with repository.engine.begin() as connection:
            connection.execute(text("UPDATE jobs SET finished_at = now() - interval '2 days'"))
            assert retaining.mark_due(connection, limit=10) == 1
        answer = http.post(GENERATIONS, json={**BODY, "retain_days": 1.0}, headers=headers)
    assert (answer.status_code, answer.json()["error"]["code"]) == (410, "gone")
    assert answer.headers["x-should-retry"] == "false"
