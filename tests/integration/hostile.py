"""Asking a real API process what it must refuse, and looking at what that costs it."""

from __future__ import annotations

import contextlib
import os
import subprocess
import sys
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import httpx
import psutil

from latentfarm.api_keys import Scope
from latentfarm.key_ring import KeyRing
from tests.integration.test_api_process import address

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from latentfarm.repository.facade import Repository
    from tests.corpus.case import Case

GROWTH_BYTES = 50 * 1024 * 1024
MOST_REPLY = 64 * 1024


@dataclass
class Hostile:
    """An API process, and keys for it.

    Attributes:
        keys: `admin` and `submit` of the tenant acme, `other` of another tenant.
        mine: a job of acme.
    """

    process: psutil.Process
    http: httpx.Client
    keys: dict[str, str]
    mine: str = ""

    def send(self, case: Case) -> httpx.Response:
        headers = list(case.headers)
        if case.key:
            headers.append((b"Authorization", f"Bearer {self.keys[case.key]}".encode()))
        more: dict[str, Any] = {"json": case.body} if case.body is not None else {"content": case.raw}
        return self.http.request(case.method, case.path, headers=headers, **more)

    def wrong(self, cases: Iterable[Case]) -> dict[str, str]:
        """The cases that did not get the one answer that they must, with the one that they got."""
        found = {}
        for case in cases:
            try:
                answer = self.send(case)
            except httpx.HTTPError as error:
                found[str(case)] = repr(error)
                continue
            if complaint := _complaint(self.http, case, answer):
                found[str(case)] = f"{complaint}: {answer.status_code} {answer.text[:400]}"
        return found

    def rss(self) -> int:
        """Bytes that the process has in memory."""
        return int(self.process.memory_info().rss)


def _complaint(http: httpx.Client, case: Case, answer: httpx.Response) -> str:
    """What is wrong with an answer; empty: nothing."""
    if answer.status_code != case.status:
        return f"not {case.status}"
    if len(answer.content) > MOST_REPLY or "Traceback" in answer.text:
        return "too long, or a traceback"
    if case.status < 300:
        return _not_kept(case, answer)
    body = answer.json()
    if "openai" in case.group or case.path.startswith("/v1/images"):
        code, named = body["error"]["code"], body["error"]["param"] or ""
    else:
        code = body.get("type", "").rpartition(":")[2]
        named = (body.get("errors") or [{"field": ""}])[0]["field"]
    if case.code is not None and code != case.code:
        return f"no {case.code}"
    wanted = case.field or ""
    return "" if named == wanted or named.startswith(f"{wanted}.") else f"does not name {wanted!r}"


def _not_kept(case: Case, answer: httpx.Response) -> str:
    spec = answer.json()["spec"]
    lost = {name: spec.get(name) for name, value in (case.echo or {}).items() if spec.get(name) != value}
    return f"gives back {lost!r:.200}" if lost else ""


@contextlib.contextmanager
def hostile(environment: dict[str, str], repository: Repository) -> Iterator[Hostile]:
    """`python -m api` that takes nobody without a key."""
    ring = KeyRing(repository)
    keys = {
        "admin": ring.create(tenant="acme", name="admin", scopes=[Scope.ADMIN])[1],
        "submit": ring.create(tenant="acme", name="submit", scopes=[Scope.SUBMIT])[1],
        "other": ring.create(tenant="other", name="other", scopes=[Scope.SUBMIT, Scope.READ, Scope.CANCEL])[
            1
        ],
    }
    more = {"LATENTFARM_API_PORT": "0", "LATENTFARM_REQUIRE_KEYS": "true", "LATENTFARM_OPENAI_WAIT_S": "1"}
    with subprocess.Popen(
        [sys.executable, "-m", "api"],
        env={**os.environ, **environment, **more},
        stdout=subprocess.PIPE,
        text=True,
    ) as process:
        try:
            with httpx.Client(base_url=address(process), timeout=60) as http:
                api = Hostile(psutil.Process(process.pid), http, keys)
                answer = http.post(
                    "/v1/jobs", json={"prompt": "a"}, headers={"Authorization": f"Bearer {keys['admin']}"}
                )
                api.mine = answer.json()["id"]
                yield api
        finally:
            process.kill()
