"""The world outside of a process, at its worst: every call may be the one at which the process dies.

Messages are lost, doubled and late. What is tested is that nothing of this matters; the real Redis and the
real bucket are far kinder, and the other tests use them.
"""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING

from latentfarm.messages import Message

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from latentfarm.records import Pick

MOMENTS = ("before", "inside", "after")
"""Of a call at which a process may die: not made; made and undone; made, and nobody heard the answer."""


class Crash(Exception):  # noqa: N818 - what happened, not what went wrong
    """The process died here. Nothing in the farm may catch it."""


class Fuse:
    """Says at which call to the outside the process dies.

    Attributes:
        calls: how many may still be made; negative: any number.
        moment: of the last one.
    """

    def __init__(self) -> None:
        self.calls = -1
        self.moment = "after"

    def light(self, calls: int, moment: str) -> None:
        """The process dies at the `calls`-th call from now on, counted from 0."""
        self.calls, self.moment = calls, moment

    def put_out(self) -> None:
        """Nobody dies."""
        self.calls = -1

    def burn(self) -> str | None:
        """Counts one call; the moment at which to die in it, if it is the one."""
        if self.calls < 0:
            return None
        self.calls -= 1
        return self.moment if self.calls < 0 else None

    def guard(self, work: Callable[[], None]) -> None:
        """One call that cannot be undone."""
        moment = self.burn()
        if moment == "before":
            raise Crash
        work()
        if moment is not None:
            raise Crash


class Bag:
    """Where messages are: a broker that remembers no order."""

    def __init__(self, fuse: Fuse) -> None:
        self._fuse = fuse
        self.messages: list[tuple[str, Message]] = []
        self.flushed = False

    def send(self, queue: str, picks: Sequence[Pick], *, chunk: int) -> None:
        """As `Broker.send`: suspects travel alone."""
        together = [pick for pick in picks if not pick.alone]
        groups = [together[start : start + chunk] for start in range(0, len(together), chunk)]
        for group in [*groups, *([pick] for pick in picks if pick.alone)]:
            message = Message(tuple((pick.render_id, pick.fence) for pick in group), alone=group[0].alone)
            self._fuse.guard(partial(self.messages.append, (queue, message)))

    def length(self, queue: str) -> int:
        """Messages of one queue."""
        return sum(name == queue for name, _ in self.messages)

    def lost_everything(self) -> bool:
        """Whether it was flushed since `mark_epoch`."""
        return self.flushed

    def mark_epoch(self) -> None:
        """Forgets that it was flushed."""
        self._fuse.guard(lambda: setattr(self, "flushed", False))


class Shelf:
    """What lies in the bucket: keys."""

    def __init__(self, fuse: Fuse) -> None:
        self._fuse = fuse
        self.keys: set[str] = set()

    def put(self, key: str) -> None:
        """An upload."""
        self._fuse.guard(lambda: self.keys.add(key))

    def delete(self, keys: Sequence[str]) -> None:
        """As `ObjectStore.delete`."""
        self._fuse.guard(lambda: self.keys.difference_update(keys))
