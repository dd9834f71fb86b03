"""Frozen records of how claims ended, and of devices that were to blame."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from datetime import datetime

    from latentfarm.states import Stage


@dataclass(frozen=True, slots=True)
class Mishap:
    """How a worker failed a render, or died with it: then without a class, unless it was to blame."""

    worker: int
    device: str
    error_class: str | None
    message: str | None


@dataclass(frozen=True, slots=True)
class Attempt:
    """What happened in one claim of a render.

    Attributes:
        worker: the incarnation.
        device: as torch names it; `device_name` is the maker's name, when the worker was ready.
        outcome: `handed_over`, `succeeded`, `failed`, `lost`, `released` or `cancelled`; None: it runs.
        charged: it counted against the render; `refunded`: the device turned out to be to blame.
    """

    worker: int
    device: str
    device_name: str | None
    stage: Stage
    started_at: datetime
    ended_at: datetime | None
    steps: int | None
    outcome: str | None
    error_class: str | None
    message: str | None
    charged: bool
    refunded: bool


@dataclass(frozen=True, slots=True)
class Resting:
    """A device that failed several renders, and starts again in `left_s` seconds."""

    worker: int
    host: str
    device: str
    left_s: float
