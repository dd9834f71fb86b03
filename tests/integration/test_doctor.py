from __future__ import annotations

import json
import os
import subprocess
import sys
from typing import TYPE_CHECKING

from sqlalchemy import text

from latentfarm.doctor import clocks, queue
from latentfarm.doctor import store as store_probes
from latentfarm.doctor.examination import examine
from latentfarm.doctor.store import check_store
from latentfarm.records import Pick
from latentfarm.storage import S3Store
from tests.integration.lying_store import lying_store

if TYPE_CHECKING:
    from pathlib import Path

    import pytest

    from latentfarm.broker import Broker
    from latentfarm.repository.facade import Repository
    from latentfarm.settings import Settings

NOWHERE = {
    "database_url": "postgresql+psycopg://nobody@127.0.0.1:1/none",
    "redis_url": "redis://127.0.0.1:1/0",
    "s3_endpoint_url": "http://127.0.0.1:1",
}


def doctor(environment: dict[str, str], *words: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "latentfarm.cli.app", "doctor", *words],
        env={**os.environ, **environment},
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )


def test_a_whole_farm_is_well_and_the_bucket_is_left_clean(
    environment: dict[str, str], store: S3Store
) -> None:
    ran = doctor(environment)
    assert ran.returncode == 0, ran.stdout
    lines = ran.stdout.splitlines()
    assert all(line.startswith("ok  ") for line in lines)
    assert len(lines) == 22
    assert list(store.list_keys("v1/doctor/")) == []


def test_settings_of_the_farm_that_is_up_are_found(environment: dict[str, str], tmp_path: Path) -> None:
    (tmp_path / "farm.env").write_text("".join(f"{name}='{value}'\n" for name, value in environment.items()))
    ran = doctor({}, "--folder", str(tmp_path), "--json")
    assert ran.returncode == 0, ran.stdout
    assert json.loads(ran.stdout)["ok"]


def test_what_is_missing_is_one_line_each_and_a_status(tmp_path: Path) -> None:
    environment = {f"LATENTFARM_{name.upper()}": value for name, value in NOWHERE.items()}
    ran = doctor({**environment, "LATENTFARM_MODELS_FILE": str(tmp_path / "none.toml")})
    assert (ran.returncode, ran.stderr) == (1, "")
    missing = [line.split(maxsplit=1)[1] for line in ran.stdout.splitlines() if line.startswith("MISSING")]
    assert [line.split("  ")[0] for line in missing] == ["database", "redis", "object store", "models"]
    assert "LATENTFARM_DATABASE_URL" in missing[0]
    assert "LATENTFARM_REDIS_URL" in missing[1]
    assert "LATENTFARM_S3_ENDPOINT_URL" in missing[2]
    assert "LATENTFARM_MODELS_FILE" in missing[3]


def test_a_setting_that_is_wrong_is_one_line() -> None:
    ran = doctor({"LATENTFARM_API_PORT": "port"})
    assert (ran.returncode, len(ran.stderr.splitlines())) == (2, 1)
    assert ran.stderr.startswith("latentfarm: setting api_port: ")


def test_each_thing_that_is_wrong_is_named(settings: Settings, repository: Repository) -> None:
    repository.transact(lambda c: c.execute(text("DROP TABLE alembic_version")))
    wrong = settings.model_copy(update={"s3_bucket": "no-such-bucket"})
    findings = {finding.name: finding for finding in examine(wrong)}
    assert findings["migrations"].detail.startswith("no tables yet")
    assert "alembic upgrade head" in findings["migrations"].advice
    assert not findings["object store"].ok
    assert "put if absent" not in findings
    assert findings["redis memory policy"].ok


def test_a_redis_that_may_evict_is_named(broker: Broker) -> None:
    broker.redis.config_set("maxmemory-policy", "allkeys-lru")
    try:
        findings = {finding.name: finding for finding in queue.check_queue(broker.redis)}
    finally:
        broker.redis.config_set("maxmemory-policy", "noeviction")
    assert (findings["redis memory policy"].ok, findings["redis memory policy"].detail) == (
        False,
        "allkeys-lru",
    )
    assert findings["redis version"].ok


def test_a_redis_that_others_use_is_named(broker: Broker) -> None:
    broker.send("base.tiny.bulk", [Pick(1, 1, alone=False)])
    broker.mark_epoch()
    seen = {finding.name: finding for finding in queue.check_queue(broker.redis)}
    assert seen["redis keys"].ok, seen["redis keys"].detail
    broker.redis.lpush("celery", "somebody else's")
    seen = {finding.name: finding for finding in queue.check_queue(broker.redis)}
    assert seen["redis keys"].detail == "1 keys that are not the farm's, such as 'celery'"


def test_a_redis_that_is_too_old_is_named(broker: Broker, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(queue, "OLDEST", (99, 0))
    findings = {finding.name: finding for finding in queue.check_queue(broker.redis)}
    assert findings["redis version"].detail.endswith("is too old")


def test_clocks_that_differ_are_named(
    repository: Repository, store: S3Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert all(finding.ok for finding in clocks.check_clocks(repository.engine, store))
    monkeypatch.setattr(clocks, "MOST_S", -1.0)
    for finding in clocks.check_clocks(repository.engine, store):
        assert not finding.ok
        assert finding.detail.startswith("differs by ")


def test_links_that_lead_nowhere_are_named(settings: Settings) -> None:
    hidden = S3Store.from_settings(settings.model_copy(update={"s3_public_url": "http://127.0.0.1:1"}))
    findings = {finding.name: finding for finding in check_store(hidden)}
    assert [name for name, finding in findings.items() if not finding.ok] == ["signed links", "end of links"]
    assert "LATENTFARM_S3_PUBLIC_URL" in findings["signed links"].advice


def test_a_store_that_lies_is_found_out(settings: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    """It takes all that it is given, and hands it to everybody, for ever."""
    monkeypatch.setattr(store_probes, "LATE_S", 1.5)
    with lying_store() as url:
        liar = S3Store.from_settings(
            settings.model_copy(update={"s3_endpoint_url": url, "s3_public_url": url})
        )
        findings = {finding.name: finding for finding in check_store(liar)}
    assert {name for name, finding in findings.items() if finding.ok} == set()
    assert "a second put of the same key was taken" in findings["put if absent"].detail
    assert "another SHA-256 than the header says were taken" in findings["digest refusal"].detail
    assert "a wrong signature was taken" in findings["signed links"].detail
    assert "still taken" in findings["end of links"].detail
    assert all(finding.advice for finding in findings.values())
