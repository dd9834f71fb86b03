"""What bad requests cost the API and its other clients: `python -m benchmarks hostile`."""

from __future__ import annotations

import itertools
import threading
import time
from contextlib import contextmanager
from typing import TYPE_CHECKING

import httpx
import psutil

from benchmarks.control_plane.command import run
from benchmarks.measuring.farm import farm
from benchmarks.measuring.machine import machine
from benchmarks.measuring.outcome import Outcome
from benchmarks.measuring.turns import Spread
from latentfarm.api_keys import Scope
from latentfarm.database import connect
from latentfarm.key_ring import KeyRing
from latentfarm.repository.facade import Repository
from tests.corpus import access, letters, paging, parameters, pictures, structures
from tests.corpus.case import Case
from tests.integration.hostile import Hostile
from tests.integration.pictures import data_url

if TYPE_CHECKING:
    import argparse
    from collections.abc import Iterator
    from pathlib import Path

ASKED = (
    "One client lists jobs every 20 ms, alone and beside another one that sends the corpus of bad input, pictures that are"
    " bombs among it, one request after the other and as fast as they are answered. Turn by turn, against one API process."
)
SIZES = {"rounds": (7, "of each"), "seconds": (10, "of one round")}
EVERY_S = 0.02
SLOWER, GROWTH_MIB = 2.0, 50.0


def main(argv: list[str]) -> int:
    """Measures, prints, and returns 1 when a bound is not met."""
    return run("hostile", __doc__, argv, SIZES, measure)


def measure(folder: Path, options: argparse.Namespace) -> Outcome:
    """p99 of the quiet client in turn with and without the other one, and the memory of the API."""
    result = Outcome("hostile", ASKED, {"machine": machine()})
    with farm(
        folder, {"LATENTFARM_REQUIRE_KEYS": "true", "LATENTFARM_OPENAI_WAIT_S": "1"}, workers=()
    ) as running:
        keys = _keys(running.environment)
        with httpx.Client(base_url=running.url, timeout=60) as http:
            api = Hostile(psutil.Process(running.pids["api"]), http, keys)
            api.mine = _job(api)
            sent = 0
            alone, beside = [], []
            _percentile(api, 1.0)
            before = api.rss()
            for _ in range(options.rounds):
                alone.append(_percentile(api, options.seconds))
                with _attack(api, running.url) as count:
                    beside.append(_percentile(api, options.seconds))
                sent += count[0]
            grown = (api.rss() - before) / 2**20
    result.figures |= {
        "p99 alone, ms": Spread.of(alone),
        "p99 beside, ms": Spread.of(beside),
        "bad requests": sent,
    }
    result.most("p99 beside / alone", Spread.of([b / a for a, b in zip(alone, beside, strict=True)]), SLOWER)
    result.most("growth of the API, MiB", grown, GROWTH_MIB)
    return result


def _keys(environment: dict[str, str]) -> dict[str, str]:
    engine = connect(environment["LATENTFARM_DATABASE_URL"], pool=1, application="benchmark")
    ring = KeyRing(Repository(engine))
    keys = {
        "admin": ring.create(tenant="acme", name="admin", scopes=[Scope.ADMIN])[1],
        "submit": ring.create(tenant="acme", name="submit", scopes=[Scope.SUBMIT])[1],
        "other": ring.create(tenant="other", name="other", scopes=[Scope.SUBMIT, Scope.READ, Scope.CANCEL])[
            1
        ],
    }
    engine.dispose()
    return keys


def _job(api: Hostile) -> str:
    answer = api.send(Case("good", 202, body={"prompt": "a", "lane": "bulk"}))
    return str(answer.raise_for_status().json()["id"])


def _percentile(api: Hostile, seconds: float) -> float:
    """The 99th percentile of the times of a list of jobs, in ms."""
    times = []
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        began = time.perf_counter()
        api.send(Case("good", 200, method="GET", path="/v1/jobs?limit=20")).raise_for_status()
        times.append(1000 * (time.perf_counter() - began))
        time.sleep(EVERY_S)
    return sorted(times)[int(0.99 * len(times))]


@contextmanager
def _attack(api: Hostile, url: str) -> Iterator[list[int]]:
    """Another client, with a connection of its own; counts what it sends."""
    stopping, count = threading.Event(), [0]
    bombs = [
        Case(name, 422, body={"prompt": "a", "image": data_url(data)})
        for name, data in itertools.chain(pictures.bombs(), pictures.broken())
    ]
    # No good ones: each would make the list of jobs that the other client asks for longer.
    cases = [
        *parameters.cases(),
        *letters.cases(),
        *structures.cases(),
        *access.cases(api.mine),
        *paging.cases(api.mine),
    ]
    bad = [case for case in cases if case.status >= 400]

    def attack() -> None:
        with httpx.Client(base_url=url, timeout=60) as http:
            other = Hostile(api.process, http, api.keys, api.mine)
            for case in itertools.cycle([*bad, *bombs]):
                if stopping.is_set():
                    return
                other.send(case)
                count[0] += 1

    thread = threading.Thread(target=attack)
    thread.start()
    try:
        yield count
    finally:
        stopping.set()
        thread.join()
