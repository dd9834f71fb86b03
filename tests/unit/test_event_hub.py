"""What a notification makes the hub look at."""

from __future__ import annotations

from typing import TYPE_CHECKING
from uuid import UUID, uuid4

from redis import Redis

from latentfarm.events import EventHub

if TYPE_CHECKING:
    from collections.abc import Sequence

    from latentfarm.records import Event


class Quiet:
    """An outbox without rows."""

    def events(self, _jobs: Sequence[UUID], *, after: int) -> list[Event]:
        assert after == 0
        return []


class Unseen(UUID):
    """An id that nobody may write out."""

    def __str__(self) -> str:
        raise AssertionError("looked at")


def queued(hub: EventHub) -> list[UUID | None]:
    return [hub._changed.get_nowait() for _ in range(hub._changed.qsize())]


def test_a_job_costs_no_look_at_those_that_others_watch() -> None:
    hub = EventHub("", Quiet(), Redis())
    others = [hub.watch(Unseen(int=number), lambda _: None) for number in range(50)]
    watched = uuid4()
    subscription = hub.watch(watched, lambda _: None)
    for payload, jobs in ((str(watched), [watched]), (str(uuid4()), []), ("no id", [])):
        hub._notified("", payload)
        assert queued(hub) == jobs
    hub._notified("", "")
    assert len(queued(hub)) == 51, "without a payload anything may have been missed"
    for one in (*others, subscription):
        one.close()
    assert hub.watchers() == 0
