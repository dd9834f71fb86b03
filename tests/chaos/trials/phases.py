"""Stretches of time whose rates are compared, and how busy the machine was in each."""

from __future__ import annotations

import contextlib
import time
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import psutil

from tests.chaos.run import say

if TYPE_CHECKING:
    from collections.abc import Iterator


@dataclass(slots=True)
class Phase:
    """One stretch. `cpu`: busy share of all cores, whoever used them."""

    name: str
    began: float
    ended: float = 0.0
    cpu: float = 0.0

    def rate(self, moments: list[float]) -> float:
        """How many of these came in a second of it."""
        return sum(self.began <= moment < self.ended for moment in moments) / (self.ended - self.began)


@dataclass(slots=True)
class Phases:
    """All phases of a trial; what lies between them is nobody's."""

    all: list[Phase] = field(default_factory=list)

    @contextlib.contextmanager
    def phase(self, name: str) -> Iterator[Phase]:
        """The time of the block."""
        found = Phase(name, time.time())
        psutil.cpu_percent()
        say(f"phase: {name}")
        yield found
        found.cpu = psutil.cpu_percent() / 100
        found.ended = time.time()
        self.all.append(found)

    def rates(self, name: str, moments: list[float]) -> list[float]:
        """Of each phase of this name."""
        return [phase.rate(moments) for phase in self.all if phase.name == name]

    def rate(self, name: str, moments: list[float]) -> float:
        """Of all phases of this name together."""
        chosen = [phase for phase in self.all if phase.name == name]
        lasted = sum(phase.ended - phase.began for phase in chosen)
        return sum(phase.rate(moments) * (phase.ended - phase.began) for phase in chosen) / lasted

    def cpu(self, name: str) -> list[float]:
        """Busy share of the cores in each phase of this name."""
        return [round(phase.cpu, 2) for phase in self.all if phase.name == name]
