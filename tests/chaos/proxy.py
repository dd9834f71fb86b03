"""The fault proxy: one thread with all links, and its controls for everybody else's threads.

Loss, delay and partitions of the kernel's own would need root and netem; through these links each fault hits
one process and one service, at a moment that the seed chose.
"""

from __future__ import annotations

import asyncio
import threading
from typing import TYPE_CHECKING, Self, TypeVar

from tests.chaos.link import Link

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine

T = TypeVar("T")


class Switchboard:
    """Every link of a run. Its methods may be called from any thread."""

    def __init__(self) -> None:
        self.links: dict[str, Link] = {}
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, name="proxy", daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_exception: object) -> None:
        self._run(self._close())
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()

    def add(self, name: str, host: str, port: int) -> Link:
        """A link to a service; `Link.port` is where to connect."""
        link = Link(name, (host, port))
        self._run(link.open())
        self.links[name] = link
        return link

    def do(self, act: Callable[[], T]) -> T:
        """Calls `act` in the proxy's thread, where links may be touched."""

        async def call() -> T:
            return act()

        return self._run(call())

    def named(self, part: str) -> list[Link]:
        """Links with `part` in their name: `redis` for all of Redis, `worker2.` for all of that worker."""
        return [link for name, link in self.links.items() if part in name]

    async def _close(self) -> None:
        for link in self.links.values():
            await link.close()
        tasks = asyncio.all_tasks() - {asyncio.current_task()}
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    def _run(self, work: Coroutine[object, object, T]) -> T:
        return asyncio.run_coroutine_threadsafe(work, self._loop).result(30)
