"""Which samples go through the next UNet forward together."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING, NamedTuple

from latentfarm.states import Lane
from worker.engine.seating import Seating

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from worker.engine.sample import GroupKey, Sample
    from worker.engine.seating import Rows

PATIENCE = 16
"""Forwards that a sample is passed over before it may lead, whatever its lane."""
DEFERENCE = 4
"""Forwards in which bulk samples that cannot fill one let those go first that can: more of their kind may come by then."""
COURTESY = 4
"""While interactive samples are in flight, at most every so many forwards one of these leads."""


class Group(NamedTuple):
    """Samples for one forward.

    Attributes:
        limit: rows that the forward may have; 1: one sample with just its own rows.
        pool: how many samples of the same key were in flight.
        places: the rows of the forward that each sample has.
        patient: the leader went before interactive samples, since it was passed over too long.
    """

    samples: list[Sample]
    limit: int
    pool: int
    places: list[Rows]
    patient: bool = False

    @property
    def rows(self) -> int:
        """Rows that the samples fill."""
        return sum(sample.rows for sample in self.samples)

    @property
    def reproducible(self) -> bool:
        """Whether the forward must have the model's constant shape."""
        return any(sample.reproducible for sample in self.samples)


def choose(
    active: Sequence[Sample], limit_of: Callable[[GroupKey], int], *, since_patient: int = COURTESY
) -> Group:
    """Picks the leader, then fills its forward with samples of the same key, first come first served.

    The leader is whoever was passed over too long, else an interactive sample, else the oldest of those
    that fill a forward, and with too few of them the oldest. Reproducible samples whose rows are taken
    wait for the next forward. Many that want the same rows are passed over too long by each other, and would
    lead for ever: so interactive samples go first in three forwards of four, however long others wait.

    Args:
        active: at least one sample, none finished.
        limit_of: rows of a forward for a key.
        since_patient: forwards up to this one since the last whose group was `patient`.
    """
    hurried = any(sample.order.lane is Lane.INTERACTIVE for sample in active)
    courteous = hurried and since_patient < COURTESY
    full = _full(active, limit_of)

    def urgency(sample: Sample) -> tuple[int, int, bool, int]:
        return _urgency(sample, courteous=courteous, defers=sample.key not in full)

    lead = min(active, key=urgency)
    patient = hurried and lead.order.lane is not Lane.INTERACTIVE
    mates = sorted((sample for sample in active if sample.key == lead.key), key=urgency)
    limit = limit_of(lead.key)
    if limit == 1:
        return Group([lead], 1, len(mates), [tuple(range(lead.rows))], patient)
    seating = Seating(limit)
    for sample in mates:
        seating.offer(sample)
    return Group(seating.samples, limit, len(mates), seating.rows(), patient)


def _full(active: Sequence[Sample], limit_of: Callable[[GroupKey], int]) -> set[GroupKey]:
    """Keys whose samples have enough rows for a whole forward."""
    rows: Counter[GroupKey] = Counter()
    for sample in active:
        rows[sample.key] += sample.rows
    return {key for key, found in rows.items() if found >= limit_of(key)}


def _urgency(sample: Sample, *, courteous: bool, defers: bool) -> tuple[int, int, bool, int]:
    interactive = sample.order.lane is Lane.INTERACTIVE
    if sample.skipped >= PATIENCE and (interactive or not courteous):
        return (0, -sample.skipped, False, sample.arrival)
    if interactive:
        return (1, 0, False, sample.arrival)
    # Among themselves, whoever was passed over too long still goes first.
    overdue = max(0, sample.skipped - PATIENCE + 1)
    return (2, -overdue, defers and sample.skipped < DEFERENCE, sample.arrival)


def note_skipped(active: Sequence[Sample], group: Group) -> None:
    """Counts the forward for those that were passed over and forgets it for those that were in it."""
    chosen = {id(sample) for sample in group.samples}
    for sample in active:
        sample.skipped = 0 if id(sample) in chosen else sample.skipped + 1
