"""`POST /v1/jobs?dry_run=true`: what a job would take, refused as a submit would be, and nothing stored."""

from __future__ import annotations

import base64
from typing import TYPE_CHECKING, Any

import httpx
import pytest
from typer.testing import CliRunner

from latentfarm.cli.app import app
from latentfarm.client import Client
from latentfarm.errors import InvalidInput
from latentfarm.repository import tenants
from tests.integration.serving import Puppet, serve
from tests.integration.test_api_jobs import count
from tests.integration.test_fair_dispatch import do
from tests.integration.test_queue_place import swept
from tests.pieces import image_file

if TYPE_CHECKING:
    from collections.abc import Iterator

    from latentfarm.repository.facade import Repository
    from latentfarm.settings import Settings
    from latentfarm.storage import S3Store

SPEC: dict[str, Any] = {
    "prompt": "a red circle",
    "num_inference_steps": 4,
    "num_images": 3,
    "width": 64,
    "height": 64,
}
TABLES = ("jobs", "specs", "renders", "inputs", "idempotency", "queues")


@pytest.fixture
def http(settings: Settings) -> Iterator[httpx.Client]:
    with serve(settings) as url, httpx.Client(base_url=url, timeout=60) as client:
        yield client


def ask(http: httpx.Client, status: int = 200, headers: dict[str, str] | None = None, **fields: Any) -> Any:
    answer = http.post("/v1/jobs", params={"dry_run": True}, json={**SPEC, **fields}, headers=headers)
    assert answer.status_code == status, answer.text
    return answer.json()


def test_a_quote_tells_the_work_and_stores_nothing(http: httpx.Client, repository: Repository) -> None:
    found = ask(http, headers={"Idempotency-Key": "k"})
    assert (found["object"], found["model"], found["renders"]) == ("job.quote", "tiny", 3)
    assert found["megapixel_steps"] == pytest.approx(3 * 4 * 64 * 64 / 1e6, abs=1e-3)
    assert (found["estimate"]["device_seconds"], found["estimate"]["bytes"]) == (None, None)
    assert found["estimate"]["device_seconds_basis"] == "nothing of tiny was rendered of late"
    assert (found["spec"]["sampler"], found["spec"]["seed"]) == ("euler", None)
    assert [count(repository, table) for table in TABLES] == [0] * len(TABLES)


def test_the_cost_is_that_of_the_model_on_this_farm(
    http: httpx.Client, repository: Repository, store: S3Store
) -> None:
    http.post("/v1/jobs", json={**SPEC, "num_images": 4})
    puppet = Puppet(repository, store)
    repository.mark_ready(puppet.worker, {})
    claimed = puppet.claim()
    do(repository, "UPDATE workers SET lease_until = now() + interval '1 h'")
    swept(repository, 8.0, "now()")
    puppet.finish(claimed)
    # A second of the device for each two images: 2 s for 4 steps of 64x64.
    found = ask(http)["estimate"]
    assert found["device_seconds"] == pytest.approx(6.0, rel=0.01)
    assert found["device_seconds_basis"].startswith("8.")
    assert "4 claims of tiny" in found["device_seconds_basis"]
    assert ask(http, num_inference_steps=8)["estimate"]["device_seconds"] == pytest.approx(12.0, rel=0.01)
    assert found["bytes"] > 0
    do(repository, "UPDATE queues SET model = 'other'")
    assert ask(http)["estimate"]["device_seconds"] is None


def test_what_a_submit_would_refuse_a_quote_refuses_alike(http: httpx.Client) -> None:
    for wrong in (
        {"width": 1000},
        {"sampler": "x"},
        {"model": "x"},
        {"image": f"sha256:{'0' * 64}"},
    ):
        refused = http.post("/v1/jobs", json={**SPEC, **wrong})
        assert refused.status_code == 422
        assert ask(http, 422, **wrong) == refused.json()


def test_pictures_are_looked_at_and_not_kept(
    http: httpx.Client, repository: Repository, store: S3Store
) -> None:
    link = f"data:image/png;base64,{base64.b64encode(image_file(1)).decode()}"
    found = ask(http, image=link, strength=0.5)
    assert found["spec"]["image"].startswith("sha256:")
    assert found["megapixel_steps"] == pytest.approx(3 * 2 * 64 * 64 / 1e6, abs=1e-3)
    assert count(repository, "inputs") == 0


def test_limits_and_keys_hold_as_for_a_submit(http: httpx.Client, repository: Repository) -> None:
    key = {"Idempotency-Key": "k"}
    http.post("/v1/jobs", json=SPEC, headers=key)
    assert ask(http, headers=key)["renders"] == 3
    assert ask(http, 422, headers=key, num_images=2)["type"].endswith(":idempotency_mismatch")
    repository.transact(lambda c: tenants.change(c, "a", {"max_queued": 2}))
    assert ask(http, 429, headers={"X-Latentfarm-Tenant": "a"})["type"].endswith(":too_much_queued")


def test_the_client_and_the_command_ask_too(http: httpx.Client, repository: Repository) -> None:
    with Client(str(http.base_url)) as client:
        assert client.quote(SPEC).renders == 3
        with pytest.raises(InvalidInput, match="width"):
            client.quote({**SPEC, "width": 1000})
    told = CliRunner().invoke(
        app, ["render", "a ball", "-n", "2", "--dry-run", "--api", str(http.base_url)], catch_exceptions=False
    )
    assert "dry run: no job was stored" in told.output
    assert "nothing of tiny was rendered of late" in told.output
    assert count(repository, "jobs") == 0
