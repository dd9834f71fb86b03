"""What this incarnation owns right now: the renders that it claimed and has not settled."""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from latentfarm.messages import Pair
    from latentfarm.records import Claimed


class Holdings:
    """Claimed renders by id. Thread-safe; `changed` is notified whenever one leaves."""

    def __init__(self) -> None:
        self._held: dict[int, Claimed] = {}
        self.changed = threading.Condition()

    def add(self, claimed: Claimed) -> None:
        """The claim was committed."""
        with self.changed:
            self._held[claimed.render_id] = claimed

    def get(self, render_id: int, fence: int) -> Claimed | None:
        """The render, while it is held under that very fence."""
        with self.changed:
            found = self._held.get(render_id)
            return found if found is not None and found.fence == fence else None

    def remove(self, render_id: int, fence: int) -> None:
        """It was finished, failed, given back, or lost to a higher fence."""
        with self.changed:
            found = self._held.get(render_id)
            if found is not None and found.fence == fence:
                del self._held[render_id]
                self.changed.notify_all()

    def pairs(self) -> set[Pair]:
        """(render id, fence) of all that is held."""
        with self.changed:
            return {(item.render_id, item.fence) for item in self._held.values()}

    def has_suspect(self) -> bool:
        """Whether one is held that must run alone."""
        with self.changed:
            return any(item.alone for item in self._held.values())

    def __len__(self) -> int:
        with self.changed:
            return len(self._held)
