"""What `decide` looks at: jobs that wait in one queue, and how their tenants stand."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping
    from uuid import UUID


@dataclass(frozen=True, slots=True)
class Waiting:
    """A job with renders that are due in the queue.

    Attributes:
        queued: at most so many of them; some may wait in another stage, or for the end of a back-off.
        priority: -10 to 10, among the jobs of its tenant.
        waited_s: seconds since its first render became due, or since one was last taken, whichever is less.
        shape: (height, width) in pixels of its images.
        makes_latents: whether the renders will wait for the refiner once they are through here.
    """

    job_id: UUID
    tenant: str
    queued: int
    priority: int = 0
    waited_s: float = 0.0
    shape: tuple[int, int] = (0, 0)
    makes_latents: bool = False


@dataclass(frozen=True, slots=True)
class Standing:
    """How a tenant stands.

    Attributes:
        weight: its part of the farm, against the weights of the others that wait.
        deficit_s: GPU-seconds that it is owed; negative: that it had too many.
        in_flight: renders that are dispatched or running and not charged yet, in all queues.
        most: of these at once; None: no limit.
        cost_s: GPU-seconds of one render, as measured; None: nothing was yet.
    """

    weight: float = 1.0
    deficit_s: float = 0.0
    in_flight: int = 0
    most: int | None = None
    cost_s: float | None = None
    paused: bool = False


@dataclass(frozen=True, slots=True)
class View:
    """The jobs that may be served, and their tenants; a tenant that is not named stands as a new one.

    Attributes:
        cost_s: GPU-seconds of one render where nothing is known of its tenant.
        is_cut: whether more jobs wait than are shown.
    """

    jobs: tuple[Waiting, ...]
    tenants: Mapping[str, Standing] = field(default_factory=dict)
    cost_s: float = 1.0
    is_cut: bool = False


@dataclass(frozen=True, slots=True)
class Credits:
    """How much may be taken: `renders` in all, `latents` of those that will wait for the refiner."""

    renders: int
    latents: int | None = None


@dataclass(frozen=True, slots=True)
class Take:
    """So many renders of a job, by ordinal."""

    job_id: UUID
    count: int
