"""What `assign` looks at: workers that hold some of the models that they may serve, and what waits for each model."""

from __future__ import annotations

from dataclasses import dataclass

LOAD_S = 30.0
"""Seconds from one set of models to the next, of a worker whose start was not measured."""


@dataclass(frozen=True, slots=True)
class Holder:
    """A live worker.

    Attributes:
        worker: its incarnation.
        serves: models that it may serve.
        holds: those that it was last assigned.
        most: models that it holds at once.
        held_s: seconds for which it has been ready with them.
        load_s: seconds that its start took, or about as much.
        slots: renders that it can hold at once; 0: not known.
        running: renders that it holds.
        settled: whether it is ready with just what it was assigned. Who is on the way there is left alone.
    """

    worker: int
    serves: tuple[str, ...]
    holds: tuple[str, ...]
    most: int = 1
    held_s: float = 0.0
    load_s: float = LOAD_S
    slots: int = 0
    running: int = 0
    settled: bool = True


@dataclass(frozen=True, slots=True)
class Demand:
    """What waits for a model, in the stages of the workers that are looked at.

    Attributes:
        waiting: renders that are queued or dispatched.
        interactive: whether some of them are.
        waited_s: how long the oldest of them has been passed by: since it became due, or since a worker last held the
            model, whichever is less.
        interactive_s: the same, of interactive ones alone.
        cost_s: seconds of a worker that one takes.
    """

    model: str
    waiting: int
    interactive: bool = False
    waited_s: float = 0.0
    interactive_s: float = 0.0
    cost_s: float = 1.0

    @property
    def work_s(self) -> float:
        """Seconds of one worker that all of it takes."""
        return self.waiting * self.cost_s


@dataclass(frozen=True, slots=True)
class Affinity:
    """Workers of equal stages, and what waits for them; a model that is not named has no work."""

    holders: tuple[Holder, ...]
    demands: tuple[Demand, ...] = ()
