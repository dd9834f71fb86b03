"""The kinds of fault, how often each comes, and the draw of a run's faults from its seed."""

from __future__ import annotations

from dataclasses import dataclass
from random import Random
from typing import TYPE_CHECKING, Any

from tests.chaos import fault_network, fault_processes, fault_services

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from tests.chaos.place import Place

    Inject = Callable[[Place, Random, "Note"], None]
    Note = Callable[..., None]

#: Kind -> (how many of 600 in the protocol, what does it). 0: only in a run that is aimed, from its start.
KINDS: dict[str, tuple[int, Inject]] = {
    "child_kill": (120, fault_processes.child_kill),
    "node_kill": (60, fault_processes.node_kill),
    "freeze": (40, fault_processes.freeze),
    "terminate": (40, fault_processes.terminate),
    "redis_reset": (60, fault_network.redis_reset),
    "redis_drop": (40, fault_network.redis_drop),
    "redis_half_open": (20, fault_network.redis_half_open),
    "redis_kill": (10, fault_services.redis_kill),
    "redis_flush": (5, fault_services.redis_flush),
    "postgres_stop": (20, fault_services.postgres_stop),
    "postgres_reset": (20, fault_network.postgres_reset),
    "s3_errors": (20, fault_network.s3_errors),
    "s3_lost_answer": (25, fault_network.s3_lost_answer),
    "s3_kill": (5, fault_services.s3_kill),
    "api_kill": (30, fault_processes.api_kill),
    "scheduler_kill": (15, fault_processes.scheduler_kill),
    "duplicate": (40, fault_services.duplicate),
    "clock": (10, fault_processes.clock),
    "store_full": (5, fault_network.store_full),
    "hang": (15, fault_processes.hang),
    "s3_slow": (0, fault_network.s3_slow),
}


LONG_S = {"freeze": 45.0, "redis_half_open": 45.0, "terminate": 20.0, "hang": 20.0}
"""Seconds that a fault of these kinds lasts."""


@dataclass(frozen=True, slots=True)
class Fault:
    """One fault of a run."""

    number: int
    kind: str
    at_s: float
    seed: str

    def inject(self, place: Place) -> dict[str, Any]:
        """Does it, and returns when it is over with what it hit.

        Raises:
            Skipped: there was nothing to hit.
        """
        notes: dict[str, Any] = {}

        def note(**fields: object) -> None:
            """Called at the moment at which the harm is done."""
            notes.update(fields)
            place.truth.write("fault", number=self.number, fault=self.kind, **fields)

        KINDS[self.kind][1](place, Random(self.seed), note)
        return notes


def shares(total: int, weights: Mapping[str, int]) -> dict[str, int]:
    """`total` in these proportions: whole numbers, the largest remainders rounded up."""
    everything = sum(weights.values())
    exact = {kind: total * weight / everything for kind, weight in weights.items()}
    counts = {kind: int(share) for kind, share in exact.items()}
    rest = sorted(exact, key=lambda kind: (counts[kind] - exact[kind], -weights[kind]))
    for kind in rest[: total - sum(counts.values())]:
        counts[kind] += 1
    return counts


def draw(seed: int, total: int, window_s: float, counts: Mapping[str, int] | None = None) -> list[Fault]:
    """The faults of a run, in the order of their times; uniform over the window."""
    rng = Random(f"{seed}/faults")
    weights = {kind: weight for kind, (weight, _) in KINDS.items()}
    wanted = dict(counts) if counts is not None else shares(total, weights)
    kinds = [kind for kind, count in wanted.items() for _ in range(count)]
    moments = sorted(
        (rng.uniform(0.03, _latest(kind, window_s)) * window_s if KINDS[kind][0] else 0.0, kind)
        for kind in kinds
    )
    return [
        Fault(number, kind, at_s, f"{seed}/fault/{number}") for number, (at_s, kind) in enumerate(moments)
    ]


def _latest(kind: str, window_s: float) -> float:
    """What takes long begins early enough to be over with the window, or half way through it."""
    return max(0.5, 1.0 - LONG_S.get(kind, 0.0) / window_s)
