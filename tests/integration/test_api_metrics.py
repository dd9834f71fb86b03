from __future__ import annotations

from typing import TYPE_CHECKING

import httpx
import pytest
from prometheus_client.parser import text_string_to_metric_families
from sqlalchemy import text

from latentfarm.repository import reading
from tests.integration.serving import Puppet, serve

if TYPE_CHECKING:
    from collections.abc import Iterator

    from latentfarm.repository.facade import Repository
    from latentfarm.settings import Settings
    from latentfarm.storage import S3Store


@pytest.fixture
def http(settings: Settings) -> Iterator[httpx.Client]:
    with serve(settings) as url, httpx.Client(base_url=url, timeout=60) as client:
        yield client


def samples(http: httpx.Client) -> dict[tuple[str, frozenset[tuple[str, str]]], float]:
    answer = http.get("/metrics")
    assert answer.headers["content-type"].startswith("text/plain; version=0.0.4")
    families = text_string_to_metric_families(answer.text)
    return {
        (sample.name, frozenset(sample.labels.items())): sample.value
        for family in families
        for sample in family.samples
    }


def test_the_records_and_the_engines_are_counted(
    http: httpx.Client, repository: Repository, store: S3Store
) -> None:
    puppet = Puppet(repository, store)
    repository.mark_ready(puppet.worker, {"device_name": "x"})
    repository.owned(
        puppet.worker, {"forwards": 4, "full_rows": 9, "full_bucket_rows": 12, "stage_s": {"decode": 1}}
    )
    dead = Puppet(repository, store)
    repository.end_worker(dead.worker, "lease expired")
    http.post("/v1/jobs", json={"prompt": "a", "num_images": 3})
    puppet.finish(puppet.claim(1))
    found = samples(http)

    def value(name: str, **labels: str) -> float:
        return found[name, frozenset(labels.items())]

    depth = {
        state: value("latentfarm_queue_depth", queue="base.tiny.interactive", state=state)
        for state in ("queued", "dispatched", "running")
    }
    assert sum(depth.values()) == 2
    engine = {"model": "tiny", "stage": "base,refine", "device": "cpu"}
    assert value("latentfarm_engine_forwards_total", **engine) == 4
    assert value("latentfarm_engine_occupancy", **engine) == 0.75
    assert value("latentfarm_part_seconds_total", **engine, part="decode") == 1
    assert value("latentfarm_workers_ready", stage="base", device="cpu") == 1
    assert 0 < value("latentfarm_lease_left_seconds", worker=str(puppet.worker), host="h", device="cpu") <= 60
    assert value("latentfarm_worker_ends_total", reason="lease expired") == 1
    assert value("latentfarm_database_up") == 1


def test_counting_live_renders_reads_no_finished_ones(http: httpx.Client, repository: Repository) -> None:
    with repository.engine.begin() as connection:
        connection.execute(text("SET LOCAL enable_seqscan = off"))
        plan = connection.execute(text(f"EXPLAIN {reading._COUNTS.text}")).scalars().all()
    used = "\n".join(plan)
    assert all(
        index in used for index in ("ix_renders_waiting", "ix_renders_dispatched", "ix_renders_running")
    )


def test_models_tell_how_many_warm_workers_serve_them(
    http: httpx.Client, repository: Repository, store: S3Store
) -> None:
    before, other = http.get("/v1/models").json()["data"]
    assert other["id"] == "sdxl"
    assert (before["id"], before["object"], before["ready_workers"]) == (
        "tiny",
        "model",
        {"base": 0, "refine": 0},
    )
    assert before["created"] > 1_600_000_000
    cold, warm, gone = (Puppet(repository, store).worker for _ in range(3))
    for ready in (warm, gone):
        repository.mark_ready(ready, {})
    repository.end_worker(gone, "drained")
    assert http.get("/v1/models/tiny").json()["ready_workers"] == {"base": 1, "refine": 1}
    assert cold != warm


def test_a_database_without_tables_is_not_ready(settings: Settings, repository: Repository) -> None:
    repository.transact(lambda c: c.execute(text("UPDATE alembic_version SET version_num = '0000'")))
    with serve(settings) as url:
        checks = {check["name"]: check for check in httpx.get(f"{url}/readyz", timeout=30).json()["checks"]}
    assert not checks["migrations"]["ok"]
    assert checks["migrations"]["detail"].startswith("at 0000; this code expects ")
    assert checks["database"]["ok"]
