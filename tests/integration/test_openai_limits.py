"""Clients of OpenAI's that say how long they wait: told before they hang up, and streams go on."""

from __future__ import annotations

import time
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING

import pytest
from openai import InternalServerError, OpenAI

from tests.drawing import picture
from tests.integration.pictures import count
from tests.integration.serving import Puppet, serve

if TYPE_CHECKING:
    from collections.abc import Iterator

    from latentfarm.records import Claimed
    from latentfarm.repository.facade import Repository
    from latentfarm.settings import Settings
    from latentfarm.storage import S3Store


@pytest.fixture
def client(settings: Settings) -> Iterator[OpenAI]:
    with serve(settings) as url, OpenAI(base_url=f"{url}/v1", api_key="k", timeout=15) as client:
        yield client


def test_one_that_would_not_wait_is_told_before_it_begins_again(
    client: OpenAI, repository: Repository
) -> None:
    with pytest.raises(InternalServerError, match="not done within") as told:
        client.images.generate(prompt="a", size="64x64", model="tiny")
    assert told.value.status_code == 504
    assert count(repository, "jobs") == 1


def test_a_stream_goes_on_for_longer(client: OpenAI, repository: Repository, store: S3Store) -> None:
    """The limit is for silence, and a stream is not silent."""
    puppet = Puppet(repository, store)

    def late() -> None:
        items: list[Claimed] = []
        while not items:
            items = puppet.claim()
            time.sleep(0.05)
        time.sleep(2)
        puppet.finish(items, {0: picture()})

    with ThreadPoolExecutor(1) as pool:
        working = pool.submit(late)
        stream = client.images.generate(
            prompt="a", model="tiny", stream=True, timeout=20, extra_headers={"X-Stainless-Read-Timeout": "2"}
        )
        kinds = [event.type for event in stream]
        working.result(timeout=60)
    assert kinds == ["image_generation.completed"]
