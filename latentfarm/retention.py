"""How long the results of a job are kept, and what is said of them afterwards. Records are kept for ever."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

_PROMPTS = ("prompt", "prompt_2", "negative_prompt", "negative_prompt_2")


def expires_at(finished_at: datetime | None, retain_days: float | None) -> datetime | None:
    """When results may go; None while the job is at work, or where they are kept for ever."""
    if finished_at is None or retain_days is None:
        return None
    return finished_at + timedelta(days=retain_days)


def told(what: str, gone_at: datetime, retain_days: float | None = None) -> str:
    """Why results are not there, for a person.

    Args:
        what: of whom, such as `the images of job 7`.
    """
    kept = "" if retain_days is None else f", and were kept for {retain_days:g} days"
    return f"{what} are gone since {at(gone_at)}{kept}; the record stays"


def at(time: datetime) -> str:
    """A time as people are told it, in UTC."""
    return f"{time.astimezone(UTC):%Y-%m-%dT%H:%M:%SZ}"


def without_prompts(spec: dict[str, Any]) -> dict[str, Any]:
    """What is shown of a stored spec whose job was thrown away. The stored one may be that of other jobs, too."""
    return {name: "" if name in _PROMPTS and value else value for name, value in spec.items()}
