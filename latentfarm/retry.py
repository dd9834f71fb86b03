"""What happens to a render after a failure: a decision, and no action."""

from dataclasses import dataclass

from latentfarm.errors import ErrorClass

MAX_TRIES = 3
"""Charged failures in one stage before a render is `failed`."""
MAX_STARTS = 6
"""Claims over the whole life of a render, charged or not: what ends a render that nobody is to blame for."""

#: Failures that say something about the render itself, and so count against it.
CHARGED = frozenset(
    {
        ErrorClass.MEMORY,
        ErrorClass.DEVICE,
        ErrorClass.NON_FINITE,
        ErrorClass.POISON,
        ErrorClass.LATENTS,
        ErrorClass.MODEL,
        ErrorClass.INPUT,
        ErrorClass.USER,
    }
)

#: No further try can end otherwise.
HOPELESS = frozenset({ErrorClass.INPUT, ErrorClass.USER})

#: Seconds before the n-th further try of the same stage.
BACK_OFF_S = (0.0, 1.0, 5.0, 15.0, 30.0, 60.0)


@dataclass(frozen=True, slots=True)
class Retry:
    """Put it back.

    Attributes:
        delay_s: seconds until it may be dispatched.
        charge: how much to add to `tries`.
        rewind: whether it must start from the base stage again (its latents are of no use).
    """

    delay_s: float
    charge: int
    rewind: bool = False


@dataclass(frozen=True, slots=True)
class GiveUp:
    """End it as `failed`."""

    charge: int


def decide(error_class: ErrorClass, *, tries: int, starts: int) -> Retry | GiveUp:
    """What follows a failure.

    Args:
        error_class: what kind of failure it was.
        tries: failures charged to the render in this stage so far.
        starts: claims of the render so far, this one among them.
    """
    charge = 1 if error_class in CHARGED else 0
    if error_class in HOPELESS or tries + charge >= MAX_TRIES or starts >= MAX_STARTS:
        return GiveUp(charge)
    delay_s = BACK_OFF_S[min(starts, len(BACK_OFF_S) - 1)] if error_class is not ErrorClass.POISON else 0.0
    return Retry(delay_s, charge, rewind=error_class is ErrorClass.LATENTS)


def decide_death(*, alone: bool, tries: int, starts: int) -> Retry | GiveUp:
    """What follows the death of a process for one render that was in it.

    Only a render that was alone in the process can be blamed for the death; neighbours become
    suspects, run alone next, and are charged nothing.
    """
    charge = 1 if alone else 0
    if tries + charge >= MAX_TRIES or starts >= MAX_STARTS:
        return GiveUp(charge)
    return Retry(0.0, charge)
