"""How images of a job are named to people."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable

_SHOWN = 20


def named(indices: Iterable[int]) -> str:
    """`images 0, 3`; of many the first ones, and how many more."""
    found = sorted(indices)
    shown = ", ".join(str(index) for index in found[:_SHOWN])
    more = f" and {len(found) - _SHOWN} more" if len(found) > _SHOWN else ""
    return f"image{'s' if len(found) > 1 else ''} {shown}{more}"
