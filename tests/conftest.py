"""Fixtures that need real services. One stack per test run, a database of its own for each test."""

from __future__ import annotations

import gc
import os
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import psycopg
import pytest
import trustme
from pydantic import SecretStr

from latentfarm import listening, progress
from latentfarm.broker import Broker
from latentfarm.database import connect
from latentfarm.embedded.stack import Stack
from latentfarm.repository.facade import Repository
from latentfarm.settings import Settings
from latentfarm.storage import S3Store
from tests.canaries import CANARY, hits, secrets
from tests.own_farm import admin, database_urls, forgo_fsync, own_environment

if TYPE_CHECKING:
    from collections.abc import Generator, Iterator

ROOT = Path(__file__).resolve().parent.parent


@pytest.hookimpl(wrapper=True)
def pytest_collection(session: pytest.Session) -> Generator[None, object, object]:
    """Without the collector of cycles: a million objects come with the libraries, and hardly one of them is garbage."""
    gc.disable()
    try:
        return (yield)
    finally:
        gc.freeze()
        gc.enable()


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config: pytest.Config, log: object) -> object:
    """Tests that share a farm go to one process, which starts it once."""
    if config.getvalue("dist") != "loadfile":
        return None
    from tests.shares import Shares

    return Shares(config, log)


@pytest.fixture(scope="session", autouse=True)
def _clean_environment() -> None:
    """What the shell sets must not reach the tests."""
    for name in [name for name in os.environ if name.startswith("LATENTFARM_")]:
        del os.environ[name]


@pytest.fixture(scope="session", autouse=True)
def _trust(tmp_path_factory: pytest.TempPathFactory) -> None:
    """One authority that has signed nothing, in place of the machine's hundreds.

    Every API and every client reads them when it is made, for 40 ms, and a test that asks somebody far away is wrong.
    """
    file = tmp_path_factory.mktemp("trust") / "nobody.pem"
    trustme.CA().cert_pem.write_to_path(str(file))
    os.environ["SSL_CERT_FILE"] = str(file)


@pytest.fixture(scope="session", autouse=True)
def _soon() -> None:
    """An API of a test's own ends with it: half a second each is some minutes of all tests."""
    listening.NOTICE_S = progress.NOTICE_S = 0.05


@pytest.fixture(scope="session")
def stack(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stack]:
    """PostgreSQL, Redis and S3, all real, on free loopback ports."""
    with Stack(tmp_path_factory.mktemp("stack")) as stack:
        forgo_fsync(stack)
        yield stack
        told = hits((stack.folder.path / "logs").iterdir(), [CANARY, *secrets(stack.environment())])
        assert not told, f"logs of the services tell what they must not: {told}"


@pytest.fixture(scope="session")
def template(stack: Stack) -> str:
    """Name of a migrated database that each test's own is cloned from."""
    name = "template_farm"
    with psycopg.connect(admin(stack), autocommit=True) as connection:
        connection.execute(f"CREATE DATABASE {name}")
    environment = {**os.environ, **database_urls(stack, name)}
    subprocess.run(
        [sys.executable, "-m", "alembic", "upgrade", "head"], cwd=ROOT, env=environment, check=True
    )
    return name


@pytest.fixture
def environment(stack: Stack, template: str) -> Iterator[dict[str, str]]:
    """The variables of a farm of this test's own: a fresh database, a flushed Redis, the shared bucket."""
    with own_environment(stack, template) as variables:
        yield variables


@pytest.fixture
def settings(environment: dict[str, str]) -> Settings:
    """Settings of this test's farm."""
    values = {key.removeprefix("LATENTFARM_").lower(): value for key, value in environment.items()}
    secret = SecretStr(values.pop("s3_secret_access_key"))
    return Settings(s3_secret_access_key=secret, **values)  # type: ignore[arg-type]  # pydantic parses the strings


@pytest.fixture
def repository(settings: Settings) -> Iterator[Repository]:
    engine = connect(settings.database_url, pool=10, application="tests")
    yield Repository(engine)
    engine.dispose()


@pytest.fixture
def broker(settings: Settings) -> Iterator[Broker]:
    broker = Broker(settings.redis_url)
    yield broker
    broker.close()


@pytest.fixture
def store(settings: Settings) -> S3Store:
    return S3Store.from_settings(settings)
