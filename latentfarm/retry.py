"""What happens to a render after a failure: a decision, and no action."""

from dataclasses import dataclass

from latentfarm.errors import ErrorClass

MAX_TRIES = 3
"""Charged failures in one stage before a render is `failed`."""
MAX_STARTS = 6
"""Claims over the whole life of a render, charged or not: what ends a render that nobody is to blame for."""


@dataclass(frozen=True, slots=True)
class Policy:
    """What a class of errors means.

    Attributes:
        text: what happens, in one sentence; docs/operations.md shows it.
        charged: it counts against the render; `alone`: only if nothing ran beside it.
        telling: on a second device it says that the render is at fault: it is not tried a third time.
        blames_device: several renders that fail so on one device say that the device is at fault.
        hopeless: no further try can end otherwise.
        isolates: the render runs alone next.
        rewinds: the render starts from its base stage again.
        at_once: it is tried again without a pause.
    """

    text: str
    charged: bool = True
    alone: bool = False
    telling: bool = False
    blames_device: bool = False
    hopeless: bool = False
    isolates: bool = False
    rewinds: bool = False
    at_once: bool = False


POLICIES: dict[ErrorClass, Policy] = {
    ErrorClass.TRANSIENT: Policy("It is tried again after a pause, wherever there is room.", charged=False),
    ErrorClass.MEMORY: Policy(
        "It is tried again on another device, which may have more.", telling=True, blames_device=True
    ),
    ErrorClass.DEVICE: Policy(
        "The process exits, and all that was in it is tried again alone.",
        alone=True,
        telling=True,
        blames_device=True,
        isolates=True,
        at_once=True,
    ),
    ErrorClass.NON_FINITE: Policy(
        "It is tried again on another device, once the VAE in float32 gave no numbers either.",
        telling=True,
        blames_device=True,
    ),
    ErrorClass.POISON: Policy(
        "The process died or hung; all that was in it is tried again alone.",
        alone=True,
        blames_device=True,
        isolates=True,
        at_once=True,
    ),
    ErrorClass.LATENTS: Policy("Its base stage is run again.", rewinds=True),
    ErrorClass.MODEL: Policy("It is tried again on another device, whose files may be whole."),
    ErrorClass.INPUT: Policy("It fails at once: the picture will not come back.", hopeless=True),
    ErrorClass.DEFECT: Policy(
        "It is tried again on another device, whose machine may be set up otherwise.",
        telling=True,
        blames_device=True,
    ),
    ErrorClass.USER: Policy("It fails at once: the spec will not change.", hopeless=True),
}

#: On a second device these end a render.
TELLING = frozenset(name for name, policy in POLICIES.items() if policy.telling)
#: On several renders these send a device to rest.
BLAMES_DEVICE = frozenset(name for name, policy in POLICIES.items() if policy.blames_device)

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


def decide(
    error_class: ErrorClass, *, tries: int, starts: int, alone: bool = False, elsewhere: bool = False
) -> Retry | GiveUp:
    """What follows a failure.

    Args:
        error_class: what kind of failure it was.
        tries: failures charged to the render in this stage so far.
        starts: claims of the render so far, this one among them.
        alone: nothing else was in the process.
        elsewhere: a charged failure of a telling class came before, in this stage, on another device.
    """
    policy = POLICIES[error_class]
    charge = 1 if policy.charged and (alone or not policy.alone) else 0
    proven = elsewhere and policy.telling and charge > 0
    if policy.hopeless or proven or tries + charge >= MAX_TRIES or starts >= MAX_STARTS:
        return GiveUp(charge)
    delay_s = 0.0 if policy.at_once else BACK_OFF_S[min(starts, len(BACK_OFF_S) - 1)]
    return Retry(delay_s, charge, rewind=policy.rewinds)


def decide_death(*, alone: bool, tries: int, starts: int) -> Retry | GiveUp:
    """What follows the death of a process for one render that was in it.

    Only a render that was alone in the process can be blamed for the death; neighbours become
    suspects, run alone next, and are charged nothing. Deaths on two devices do not end it, as errors do: a
    process can be killed from outside (a hand, an out-of-memory killer), and nothing left of it tells.
    """
    return decide(ErrorClass.POISON, tries=tries, starts=starts, alone=alone)
