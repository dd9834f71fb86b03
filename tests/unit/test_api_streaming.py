"""One stream of events, between a hub and a reader that is slow, gone or late."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime
from typing import TYPE_CHECKING
from uuid import UUID

import pytest

from api import streaming
from api.streaming import Watch
from latentfarm.progress import Progress
from latentfarm.records import Event
from latentfarm.repository.replaying import Place

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

JOB = UUID(int=7)


class Records:
    """An outbox in a list; the job is still running."""

    def __init__(self, *rows: Event) -> None:
        self.rows = list(rows)

    def events(self, jobs: object, *, after: int) -> list[Event]:
        return [row for row in self.rows if row.id > after]

    def get_job(self, job_id: UUID, *, tenant: str) -> None:
        return None


class Hub:
    """Hands over what a test says."""

    def __init__(self) -> None:
        self.deliver: Callable[[Event | Progress | None], None] = print
        self.watched = asyncio.Event()
        self.closed = 0

    def watch(self, job_id: UUID, deliver: Callable[[Event | Progress | None], None], wish: object) -> Hub:
        self.deliver = deliver
        self.watched.set()
        return self

    def close(self) -> None:
        self.closed += 1


def row(number: int, kind: str = "image.succeeded") -> Event:
    return Event(number, JOB, kind, {"index": number}, datetime.now(UTC))


def step(number: int) -> Progress:
    return Progress(JOB, 0, "base", number, 1000)


def streamed(
    records: Records, hub: Hub, then: Callable[[Watch, Hub], Awaitable[None]], after: int = 0
) -> list[str]:
    """All pieces of a stream; `then` runs once the stream waits for the hub."""

    async def run() -> list[str]:
        ids = [row.id for row in records.rows]
        place = Place(after, after in ids, max(ids, default=0), min(ids, default=None))
        watch = Watch(hub, records, JOB, "", place, lambda: True)  # type: ignore[arg-type]
        pieces: list[str] = []

        async def read() -> None:
            pieces.extend([piece async for piece in watch.lines()])

        reading = asyncio.create_task(read())
        await asyncio.wait_for(hub.watched.wait(), 10)
        await then(watch, hub)
        await asyncio.wait_for(reading, 10)
        return pieces[1:]

    return asyncio.run(run())


def ids(pieces: list[str]) -> list[str]:
    return [piece.split("\n", 1)[0] for piece in pieces]


def test_rows_that_come_twice_are_told_once() -> None:
    hub = Hub()

    async def then(_: Watch, hub: Hub) -> None:
        for item in (row(1), row(2), row(3), row(2), row(4, "job.succeeded")):
            hub.deliver(item)

    assert ids(streamed(Records(row(1), row(2)), hub, then)) == ["id: 1", "id: 2", "id: 3", "id: 4"]
    assert hub.closed == 1


def test_a_slow_reader_loses_steps_first_and_then_its_stream() -> None:
    hub = Hub()

    async def then(watch: Watch, hub: Hub) -> None:
        # In one go, so that the reader gets no turn in between.
        for number in range(1, 500):
            watch._put(step(number))
        for number in range(1, 2000):
            watch._put(row(number))

    told = streamed(Records(), hub, then)
    assert sum(piece.startswith("event: progress") for piece in told) == streaming._STEPS_WAITING
    assert len(told) == streaming.MOST_WAITING
    assert hub.closed == 1


def test_the_process_ends_streams_when_it_stops() -> None:
    async def then(_: Watch, hub: Hub) -> None:
        hub.deliver(row(1))
        hub.deliver(None)

    assert len(streamed(Records(), Hub(), then)) == 1


def test_a_closed_loop_is_no_error_for_the_hub() -> None:
    hub, watches = Hub(), []

    async def then(watch: Watch, hub: Hub) -> None:
        watches.append(watch)
        hub.deliver(None)

    assert streamed(Records(), hub, then) == []
    with pytest.raises(RuntimeError, match="loop is closed"):
        watches[0]._loop.call_soon_threadsafe(print)
    hub.deliver(row(1))
    assert watches[0]._queue.empty()


def test_an_event_is_written_as_the_standard_says() -> None:
    async def then(_: Watch, hub: Hub) -> None:
        hub.deliver(step(3))
        hub.deliver(None)

    known = row(5)
    told = streamed(Records(known), Hub(), then)
    stamp = known.created_at.isoformat()
    assert told == [
        f'id: 5\nevent: image.succeeded\ndata: {{"job":"{JOB}","created_at":"{stamp}","index":5}}\n\n',
        f"event: progress\ndata: {step(3).encode()}\n\n",
    ]
