"""`latentfarm keys` on a real database, an API that is opened by it, and logs that tell no secret."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
from typing import TYPE_CHECKING

import httpx
import pytest
from typer.testing import CliRunner

from latentfarm import Client
from latentfarm.api_keys import Scope
from latentfarm.cli.app import app
from latentfarm.client_http import NotAllowed
from latentfarm.errors import InvalidInput, NotFound, ServiceUnavailable
from latentfarm.key_ring import KeyRing
from tests.integration.test_api_process import address

if TYPE_CHECKING:
    from pathlib import Path

    from typer.testing import Result

    from latentfarm.repository.facade import Repository

KEY = re.compile(r"lf_[a-z0-9]{8}_[A-Za-z0-9_-]{43}")


class Command:
    """The command with the settings of one farm."""

    def __init__(self, environment: dict[str, str]) -> None:
        self.environment = environment

    def __call__(self, *words: str) -> Result:
        return CliRunner().invoke(app, ["keys", *words], env=self.environment)

    def api(self, **fields: str) -> subprocess.Popen[str]:
        return subprocess.Popen(
            [sys.executable, "-m", "api"],
            env={**os.environ, **self.environment, "LATENTFARM_API_PORT": "0", **fields},
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )


@pytest.fixture
def keys(environment: dict[str, str]) -> Command:
    return Command(environment)


def test_a_key_is_printed_once_and_then_only_its_prefix(keys: Command, repository: Repository) -> None:
    made = keys(
        "create",
        "--tenant",
        "a",
        "--name",
        "shop",
        "--scope",
        "submit",
        "--scope",
        "read",
        "--expires-days",
        "90",
    )
    text = made.stdout.strip()
    assert KEY.fullmatch(text)
    assert text not in made.stderr
    ring = KeyRing(repository)
    found = ring.find(text)
    assert found is not None
    assert (found.tenant, found.name, found.scopes) == ("a", "shop", (Scope.SUBMIT, Scope.READ))
    assert found.expires_at is not None
    assert (found.expires_at - found.created_at).days == 90
    rotated = json.loads(keys("rotate", found.prefix, "--overlap-hours", "0", "--json").stdout)
    assert ring.find(text) is None
    assert ring.find(rotated["key"])
    shown = keys("list").stdout
    assert [line.split()[0] for line in shown.splitlines()] == ["prefix", found.prefix, rotated["prefix"]]
    assert f"replaced by {rotated['prefix']}" in shown
    assert KEY.search(shown + keys("list", "--json").stdout) is None
    keys("revoke", rotated["prefix"])
    assert ring.find(rotated["key"]) is None
    assert json.loads(keys("list", "--tenant", "b", "--json").stdout)["data"] == []


@pytest.mark.parametrize(
    "words",
    [
        ("create", "--name", "a"),
        ("create", "--scope", "read"),
        ("create", "--name", "a", "--scope", "root"),
        ("create", "--name", "a b", "--scope", "read"),
        ("create", "--name", "a", "--scope", "read", "--tenant", "a/b"),
        ("create", "--name", "a", "--scope", "read", "--expires-days", "0"),
    ],
)
def test_what_cannot_be_a_key_is_not_made(
    keys: Command, repository: Repository, words: tuple[str, ...]
) -> None:
    refused = keys(*words)
    assert refused.stdout == ""
    assert refused.exit_code == 2 or isinstance(refused.exception, InvalidInput)
    assert KeyRing(repository).listing() == []


def test_a_key_that_is_not_there_is_said_so(keys: Command) -> None:
    for action in ("revoke", "rotate"):
        with pytest.raises(NotFound, match="no key 'abcd1234'"):
            raise_(keys(action, "abcd1234"))


def test_a_database_that_is_away_is_one_line(keys: Command) -> None:
    keys.environment = {"LATENTFARM_DATABASE_URL": "postgresql+psycopg://nobody@127.0.0.1:1/none"}
    with pytest.raises(ServiceUnavailable, match=r"^the database: ") as refused:
        raise_(keys("list"))
    assert len(str(refused.value).splitlines()) == 1


def raise_(result: Result) -> None:
    assert result.exception is not None
    raise result.exception


def test_the_api_is_opened_by_a_key_with_the_scope_admin(keys: Command) -> None:
    keys("create", "--name", "a", "--scope", "submit", "--scope", "read", "--scope", "cancel")
    with keys.api(LATENTFARM_API_HOST="0.0.0.0") as refused:
        _, told = refused.communicate(timeout=60)
    assert refused.returncode == 2
    assert told.startswith("LATENTFARM_API_HOST=0.0.0.0: others than this machine would reach the API")
    assert "latentfarm keys create --name operator --scope admin" in told
    assert len(told.splitlines()) == 1
    admin = keys("create", "--name", "operator", "--scope", "admin").stdout.strip()
    with keys.api(LATENTFARM_API_HOST="0.0.0.0") as opened:
        try:
            url = address(opened)
            assert httpx.get(f"{url}/v1/jobs", headers={"X-Forwarded-For": "127.0.0.1"}).status_code == 401
            with Client(url, key=admin) as client:
                assert client.list().data == []
        finally:
            opened.kill()


def test_the_api_is_opened_without_a_key_where_keys_are_required(keys: Command) -> None:
    with keys.api(LATENTFARM_API_HOST="0.0.0.0", LATENTFARM_REQUIRE_KEYS="true") as opened:
        try:
            with Client(address(opened)) as client, pytest.raises(NotAllowed):
                client.list()
        finally:
            opened.kill()


def test_logs_tell_no_secret(keys: Command, tmp_path: Path) -> None:
    """At debug level, over requests that are answered, refused and broken off, and changes of keys."""
    admin, lost = (keys("create", "--name", "a", "--scope", "admin").stdout.strip() for _ in range(2))
    keys("revoke", lost[3:11])
    log = tmp_path / "api.log"
    with (
        log.open("w") as file,
        subprocess.Popen(
            [sys.executable, "-m", "api"],
            env={
                **os.environ,
                **keys.environment,
                "LATENTFARM_API_PORT": "0",
                "LATENTFARM_LOG_LEVEL": "DEBUG",
            },
            stdout=subprocess.PIPE,
            stderr=file,
            text=True,
        ) as api,
    ):
        url = address(api)
        given = [admin, lost, lost[:-1], f"{lost[:11]}_{'canary' * 7}x"]
        for text in given:
            headers = {"Authorization": f"Bearer {text}"}
            made = httpx.post(
                f"{url}/v1/keys", json={"name": "b", "scopes": ["read"]}, headers=headers, timeout=60
            )
            httpx.post(f"{url}/v1/jobs", json={"prompt": "x", "key": text}, headers=headers, timeout=60)
            httpx.get(f"{url}/v1/jobs/{text}", headers=headers, timeout=60)
            httpx.delete(f"{url}/v1/keys/abcd1234", headers=headers, timeout=60)
            if made.status_code == 201:
                given.append(made.json()["key"])
        api.send_signal(signal.SIGTERM)
        assert api.wait(30) == 0
    told = log.read_text()
    assert '"event": "key_created"' in told
    assert len(given) == 5
    assert [text for text in given if text[12:-2] in told] == []
