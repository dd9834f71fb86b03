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
    duplicate: Action = "mark"


@dataclass(frozen=True, slots=True)
class Verdict:
    """What is done with an image.

    Attributes:
        action: None where nothing was found.
        reason: the finding that decided: `uniform`, `dark` or `duplicate`; empty where there is none.
    """

    action: Action | None
    reason: str = ""


def judge(policy: Policy, quality: Quality | None, duplicate_of: int | None) -> Verdict:
    """The strongest action of all findings: drop, then again, then mark.

    A black image is uniform too: whoever drops what is dark does not want it again for being uniform.
    """
    findings: dict[str, Action] = {}
    if quality is not None and quality.dark:
        findings["dark"] = policy.dark
    if quality is not None and quality.uniform:
        findings["uniform"] = policy.uniform
    if duplicate_of is not None:
        findings["duplicate"] = policy.duplicate
    actions: tuple[Action, ...] = ("drop", "again", "mark")
    for action in actions:
        for reason, wanted in findings.items():
            if wanted == action:
                return Verdict(action, reason)
    return Verdict(None)
