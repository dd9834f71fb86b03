"""Memory of a farm's processes and of its Redis, looked at now and then."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import psutil

if TYPE_CHECKING:
    from collections.abc import Mapping

    from redis import Redis

MIB = 2**20
EARLY = 5
"""Looks after which Redis holds what it always holds."""
OURS = ("api", "scheduler", "worker")


@dataclass(slots=True)
class Memory:
    """The largest that each was seen at: a worker's parent and its child each for itself."""

    pids: Mapping[str, int]
    redis: Redis
    most_mib: dict[str, float] = field(default_factory=dict)
    _redis_mib: list[float] = field(default_factory=list)

    def look(self) -> None:
        """Takes one look at all of them."""
        for name, pid in self.pids.items():
            if name.startswith(OURS):
                self._note(name, pid)
        memory: Any = self.redis.info("memory")
        self._redis_mib.append(memory["used_memory"] / MIB)

    def _note(self, name: str, pid: int) -> None:
        try:
            process = psutil.Process(pid)
            family = {name: process} | {f"{name} child": child for child in process.children()}
            for label, one in family.items():
                self.most_mib[label] = max(self.most_mib.get(label, 0.0), one.memory_info().rss / MIB)
        except psutil.NoSuchProcess:
            return

    @property
    def redis_mib(self) -> dict[str, float]:
        """Of the first looks, and the most of all."""
        return {"early": max(self._redis_mib[:EARLY]), "most": max(self._redis_mib)}

    @property
    def redis_growth(self) -> float:
        """The most over what it was early."""
        found = self.redis_mib
        return found["most"] / found["early"]
