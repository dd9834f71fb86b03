"""What 2 ms more for every round trip to Redis cost: `python -m benchmarks rtt`."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

import httpx

from benchmarks.control_plane import loading
from benchmarks.control_plane.command import run
from benchmarks.measuring.farm import farm
from benchmarks.measuring.machine import machine
from benchmarks.measuring.outcome import Outcome
from benchmarks.measuring.turns import Spread, ratio, take_turns
from tests.chaos.proxy import Switchboard

if TYPE_CHECKING:
    import argparse
    from collections.abc import Callable
    from pathlib import Path

    import psycopg

    from tests.chaos.link import Link

ASKED = (
    "Renders without objects through all states, every request to Redis delayed by 2 ms, against the same farm without"
    " the delay. In both arms Redis is reached through the same proxy."
)
LEAST = 0.8
SIZES = {
    "renders": (6_000, "of each round"),
    "rounds": (5, "of both arms"),
    "rows": (256, "renders that the worker holds at once"),
    "delay": (2.0, "ms more for each request to Redis"),
}


def main(argv: list[str]) -> int:
    """Measures, prints, and returns 1 when the bound is not met."""
    return run("rtt", __doc__, argv, SIZES, measure)


@dataclass(slots=True)
class Way:
    """The way to Redis, through a proxy that can slow it down."""

    board: Switchboard
    link: Link | None = None

    def lead(self, environment: dict[str, str]) -> dict[str, str]:
        """Settings in which Redis is reached through the proxy."""
        url = environment["LATENTFARM_REDIS_URL"]
        there = urlsplit(url)
        if self.link is None:
            self.link = self.board.add("redis", there.hostname or "", there.port or 0)
        return {**environment, "LATENTFARM_REDIS_URL": url.replace(f":{there.port}/", f":{self.link.port}/")}

    def delay(self, seconds: float) -> None:
        """Of each request from now on."""
        self.board.do(lambda: setattr(self.link, "delay_s", seconds))


def measure(folder: Path, options: argparse.Namespace) -> Outcome:
    """Both arms in one farm."""
    settings = loading.settings(folder / "models", rows=options.rows)
    with Switchboard() as board:
        way = Way(board)
        with (
            farm(folder / "farm", settings, lead=way.lead) as running,
            running.connect() as database,
            httpx.Client(base_url=running.url, timeout=60) as client,
        ):

            def arm(delay_s: float) -> Callable[[], float]:
                return lambda: _through(way, delay_s, client, database, options.renders)

            arms = {"delayed": arm(options.delay / 1000), "plain": arm(0.0)}
            found = take_turns(arms, options.rounds, warm=1)
    result = Outcome("rtt", ASKED, {"machine": machine()})
    result.figures["renders/s, delayed"] = Spread.of(found["delayed"])
    result.figures["renders/s"] = Spread.of(found["plain"])
    result.least("with the delay / without", ratio(found["delayed"], found["plain"]), LEAST)
    return result


def _through(
    way: Way, delay_s: float, client: httpx.Client, database: psycopg.Connection[Any], renders: int
) -> float:
    way.delay(delay_s)
    return loading.rate(client, database, renders)
