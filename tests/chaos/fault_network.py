"""Faults of links, all by way of the proxy."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable
    from random import Random

    from tests.chaos.link import Link
    from tests.chaos.place import Place

    Note = Callable[..., None]

DROP_S = 0.3
"""So long the replies of Redis are dropped before its connections are reset."""
DARK_S = 45.0
"""So long half-open connections are left before the rig forgets them; nobody is told meanwhile."""
ERRORS_S = (1.0, 5.0)
SLOW_S = 0.4
SLOW_FOR_S = 40.0


def some(place: Place, rng: Random, service: str) -> list[Link]:
    """Every link to a service, or one: a switch that fails, or a cable. Only workers put objects."""
    links = [link for link in place.board.named(f".{service}") if service != "s3" or "worker" in link.name]
    return links if rng.random() < 0.5 else [rng.choice(links)]


def reset(links: list[Link]) -> None:
    """Resets every connection of these links."""
    for link in links:
        link.reset()


def bury(links: list[Link]) -> None:
    """Ends the black holes of these links."""
    for link in links:
        link.bury()


def _names(links: list[Link]) -> list[str]:
    return [link.name for link in links]


def redis_reset(place: Place, rng: Random, note: Note) -> None:
    """Every connection of some links is reset."""
    links = some(place, rng, "redis")
    place.board.do(lambda: reset(links))
    note(links=_names(links))


def redis_drop(place: Place, rng: Random, note: Note) -> None:
    """Redis hands messages out and its replies are lost; then a reset."""
    links = some(place, rng, "redis")
    note(links=_names(links))
    place.board.do(lambda: [link.mark(deaf=True) for link in links])
    time.sleep(DROP_S)
    place.board.do(lambda: reset(links))


def redis_half_open(place: Place, rng: Random, note: Note) -> None:
    """The connections that are open swallow everything; new ones would work. Nobody is told."""
    links = some(place, rng, "redis")
    count = place.board.do(lambda: sum(link.mark(dark=True) for link in links))
    note(links=_names(links), connections=count)
    time.sleep(DARK_S)
    place.board.do(lambda: bury(links))


def postgres_reset(place: Place, rng: Random, note: Note) -> None:
    """Every connection of some links is reset: in the middle of transactions, and of commits."""
    links = some(place, rng, "postgres")
    place.board.do(lambda: reset(links))
    note(links=_names(links))


def s3_errors(place: Place, rng: Random, note: Note) -> None:
    """503 for everything, for a few seconds."""
    _answer(place, rng, note, 503)


def store_full(place: Place, rng: Random, note: Note) -> None:
    """507 Insufficient Storage for everything, for a few seconds."""
    _answer(place, rng, note, 507)


def _answer(place: Place, rng: Random, note: Note, status: int) -> None:
    links = some(place, rng, "s3")

    def begin() -> None:
        for link in links:
            link.answers.append(status)
            link.reset()

    def end() -> None:
        for link in links:
            link.answers.remove(status)

    place.board.do(begin)
    note(links=_names(links), status=status)
    time.sleep(rng.uniform(*ERRORS_S))
    place.board.do(end)


def s3_slow(place: Place, rng: Random, note: Note) -> None:
    """Every byte on its way to the store waits; for runs that are aimed at what happens around an upload."""
    links = place.board.named(".s3")

    def wait(seconds: float) -> None:
        for link in links:
            link.delay_s = seconds

    place.board.do(lambda: wait(SLOW_S))
    note(links=_names(links))
    time.sleep(rng.uniform(SLOW_FOR_S, SLOW_FOR_S + 1))
    place.board.do(lambda: wait(0.0))


def s3_lost_answer(place: Place, rng: Random, note: Note) -> None:
    """Some uploads arrive in full, and their answers are lost with the connection."""
    links = some(place, rng, "s3")

    def lose(count: int) -> int:
        for link in links:
            link.lose_uploads = count
        return sum(link.lost_uploads for link in links)

    before = place.board.do(lambda: lose(rng.randint(1, 3)))
    note(links=_names(links))
    time.sleep(5.0)
    after = place.board.do(lambda: lose(0))
    place.truth.write("lost_answers", count=after - before)
