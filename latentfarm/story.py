"""What users are told of a render that failed: each worker's own words, in bounded length."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence

    from latentfarm.evidence import Mishap

MOST = 560
"""Characters: 64 images of one page, each with so many, stay within the size of an answer."""
WORKERS = 4
"""So many are quoted."""


def tell(mishaps: Sequence[Mishap]) -> str | None:
    """One sentence about the last mishap on each worker.

    Deaths that nobody was charged for are told of only where there is nothing else.

    Args:
        mishaps: in the order in which they happened, one for each worker.
    """
    told = [mishap for mishap in mishaps if mishap.error_class] or list(mishaps)
    if len(told) < 2:
        return _cut(_say(told[0]), MOST) if told else None
    shown = told[-WORKERS:]
    left = len(told) - len(shown)
    head = f"failed on {len(told)} workers" + (f", {left} of them earlier" if left else "")
    each = (MOST - len(head)) // len(shown) - 2
    parts = [_cut(f"{one.device} of worker {one.worker}: {_say(one)}", each) for one in shown]
    return f"{head}: {'; '.join(parts)}"


def _say(mishap: Mishap) -> str:
    return f"{mishap.error_class or 'lost'}: {mishap.message}"


def _cut(text: str, most: int) -> str:
    return text if len(text) <= most else f"{text[: most - 3]}..."
