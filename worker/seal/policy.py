"""What is done with an image that shows nothing, or what another one shows."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

if TYPE_CHECKING:
    from worker.seal.quality import Quality

Action = Literal["mark", "drop", "again"]


@dataclass(frozen=True, slots=True)
class Policy:
    """For each finding: keep and mark, drop and count, or render again with another seed."""

    uniform: Action = "mark"
    dark: Action = "mark"
    non_finite: Action = "mark"
    duplicate: Action = "mark"


@dataclass(frozen=True, slots=True)
class Verdict:
    """What is done with an image.

    Attributes:
        action: None where nothing was found.
        reasons: the findings that ask for it, of `dark`, `uniform`, `non_finite` and `duplicate`.
    """

    action: Action | None
    reasons: tuple[str, ...] = ()

    @property
    def reason(self) -> str:
        """The finding that is named first; empty where there is none."""
        return next(iter(self.reasons), "")


def judge(
    policy: Policy, quality: Quality | None, duplicate_of: int | None, *, non_finite: bool = False
) -> Verdict:
    """The strongest action of all findings: drop, then again, then mark.

    A black image is uniform too: whoever drops what is dark does not want it again for being uniform.
    """
    findings: dict[str, Action] = {}
    if quality is not None and quality.dark:
        findings["dark"] = policy.dark
    if quality is not None and quality.uniform:
        findings["uniform"] = policy.uniform
    if non_finite:
        findings["non_finite"] = policy.non_finite
    if duplicate_of is not None:
        findings["duplicate"] = policy.duplicate
    actions: tuple[Action, ...] = ("drop", "again", "mark")
    for action in actions:
        reasons = tuple(reason for reason, wanted in findings.items() if wanted == action)
        if reasons:
            return Verdict(action, reasons)
    return Verdict(None)
