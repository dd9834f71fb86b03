"""What receivers of OpenAI's events are told of a batch is what the batch says of itself."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import httpx
import pytest

from scheduler.duties import Duties
from tests.integration.batching import Desk, jsonl, line
from tests.integration.ground import Ground
from tests.integration.hooking import desk as hooks
from tests.integration.hooking import rows
from tests.integration.serving import serve

if TYPE_CHECKING:
    from collections.abc import Iterator

    from latentfarm.broker import Broker
    from latentfarm.repository.facade import Repository
    from latentfarm.settings import Settings
    from latentfarm.storage import S3Store


@pytest.fixture
def desk(settings: Settings, repository: Repository, store: S3Store, broker: Broker) -> Iterator[Desk]:
    with serve(settings) as url, httpx.Client(base_url=url, timeout=60) as http:
        for form in ("openai", "native"):
            hooks(repository).create(tenant="", url="https://hooks.example/in", events=(), form=form)
        yield Desk(http, Ground(repository, store), Duties(repository, broker, store, settings))


def told(desk: Desk, form: str = "openai") -> list[str]:
    found: list[Any] = rows(desk.ground.repository, tenant="")
    return [row.type for row in found if row.format == form]


@pytest.mark.parametrize("begun", [False, True])
@pytest.mark.parametrize("by", ["client", "time"])
def test_a_batch_that_is_taken_back_is_told_of_by_what_took_it_back(
    desk: Desk, by: str, *, begun: bool
) -> None:
    made = desk.ask(jsonl(line("a"), line("b")))
    if begun:
        desk.check()
    if by == "client":
        desk.http.post(f"/v1/batches/{made['id']}/cancel")
    else:
        desk.change("UPDATE batches SET expires_at = now()")
        desk.ground.repository.transact(desk.duties.expire_batches)
    desk.change("UPDATE jobs SET cancelled_at = now() - interval '1 minute' WHERE cancelled_at IS NOT NULL")
    desk.ground.repository.transact(desk.duties.finish_cancels)
    desk.check()
    ended = desk.show(made)["status"]
    assert ended == ("cancelled" if by == "client" else "expired")
    assert told(desk) == [f"batch.{ended}"]
    # The farm's own words are of the job, or of the dataset whose rows were not read.
    assert told(desk, "native") == ["job.cancelled" if begun else "dataset.rejected"]


@pytest.mark.parametrize(
    ("content", "status"), [(b"{\n", "failed"), (jsonl(line("a", n=0), line("b", n=11)), "completed")]
)
def test_a_batch_that_has_ended_as_it_is_made_is_told_of_too(desk: Desk, content: bytes, status: str) -> None:
    made = desk.ask(content)
    assert made["status"] == status
    assert told(desk) == [f"batch.{status}"]
    (row,) = rows(desk.ground.repository, tenant="")
    assert f"batch_{row.facts['id']}" == made["id"]
    assert told(desk, "native") == [], "there is no dataset"
