"""How large a run is. What the issue gives figures for (lease, renewal, stall, drain) keeps its default."""

from __future__ import annotations

from dataclasses import dataclass, field

POISON = ("hang", "die", "nan", "oom", "sticky")
"""The first takes 12 s to be noticed, four times: too long for the short run, which has the fault `hang`."""


@dataclass(frozen=True, slots=True)
class Profile:
    """The size of a run.

    Attributes:
        window_s: seconds over which submissions and faults are spread.
        calm_s: seconds after them in which everything must have ended; what has not is stuck.
        collect_after_s: age at which an abandoned upload is removed. Longer than a frozen process sleeps
            after it was rescued, or its late upload would come after the collector.
        faults: how many, in the proportions of the protocol.
        counts: kind -> number in their place, for a run that is aimed at something.
        poison: share of renders that nobody can make; `poison_kinds`: which; `poison_within`: the part of the
            window in which they come. A hang takes 12 s to be noticed, and does so four times.
        cancelled, twice: share of jobs that are taken back, and that are sent twice with one key.
        environment: variables of every member, in place of the usual ones.
    """

    name: str
    renders: int
    faults: int
    window_s: float
    calm_s: float
    collect_after_s: float
    counts: dict[str, int] | None = None
    workers: int = 4
    schedulers: int = 2
    poison: float = 0.01
    poison_kinds: tuple[str, ...] = POISON
    poison_within: float = 0.7
    cancelled: float = 0.05
    twice: float = 0.10
    environment: dict[str, str] = field(default_factory=dict)


SHORT = Profile(
    "short",
    300,
    30,
    window_s=65.0,
    calm_s=60.0,
    collect_after_s=30.0,
    poison_kinds=POISON[1:],
    poison_within=0.05,
)
NORMAL = Profile("normal", 3_000, 150, window_s=600.0, calm_s=240.0, collect_after_s=60.0)
LARGE = Profile("large", 10_000, 600, window_s=2_700.0, calm_s=300.0, collect_after_s=60.0)
SIZES = {profile.name: profile for profile in (SHORT, NORMAL, LARGE)}
