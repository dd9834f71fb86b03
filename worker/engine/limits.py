"""How many rows a forward may have, learned from the device's memory."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping

    from worker.engine.group import Group
    from worker.engine.model import LoadedModel
    from worker.engine.sample import GroupKey


class Limits:
    """The bucket of each model, and what was too much for the device, by shape."""

    def __init__(self, models: Mapping[str, LoadedModel]) -> None:
        self._models = models
        self._narrowed: dict[GroupKey, int] = {}

    def of(self, key: GroupKey) -> int:
        """Rows that a forward of this key may have."""
        return self._narrowed.get(key, self._models[key.model].bucket)

    def narrowed(self, key: GroupKey) -> bool:
        """Whether the model's own bucket was too much; then no reproducible sample can run."""
        return key in self._narrowed

    def halve(self, group: Group) -> None:
        """Remembers that a group's forward did not fit."""
        self._narrowed[group.samples[0].key] = max(1, min(group.limit, group.rows) // 2)
