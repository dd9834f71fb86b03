"""Frozen records that travel between SQL, the worker, the scheduler and the API."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from datetime import datetime
    from uuid import UUID

    from latentfarm.errors import ErrorClass
    from latentfarm.spec import RenderSpec
    from latentfarm.states import JobState, Lane, RenderState, Stage


@dataclass(frozen=True, slots=True)
class ObjectRef:
    """An object in the bucket: key, SHA-256 (32 bytes) and size in bytes."""

    key: str
    sha256: bytes
    size: int


@dataclass(frozen=True, slots=True)
class Shape:
    """What was found out about an input: format (png, jpeg, webp) and upright size in pixels."""

    format: str
    width: int
    height: int


@dataclass(frozen=True, slots=True)
class StoredInput:
    """A picture of a user that the farm keeps: where it is, and its shape."""

    ref: ObjectRef
    shape: Shape


@dataclass(frozen=True, slots=True)
class UploadTicket:
    """Leave to upload one file.

    Attributes:
        size: bytes that were announced, and that the link takes.
        used_as: SHA-256 of what it was when a job first used it; that is what it stays.
    """

    id: UUID
    size: int
    expires_at: datetime
    used_as: bytes | None = None


@dataclass(frozen=True, slots=True)
class KeptUpload:
    """An upload whose picture is kept: SHA-256 (32 bytes), size in bytes, and format (png, jpeg, webp)."""

    id: UUID
    created_at: datetime
    expires_at: datetime
    sha256: bytes
    size: int
    format: str


@dataclass(frozen=True, slots=True)
class Claimed:
    """A render that this incarnation now owns.

    Attributes:
        fence: the one that every further write must carry.
        picture: the stored part of the spec, see `RenderSpec.picture`; shared by those of one claim that have it.
        key: where the object of this claim goes; it is planned in SQL already.
        latents: what the base stage left; only for the refine stage.
        inputs: the pictures that the spec names and that are still kept, by SHA-256.
        alone: it was in flight when a process died, so nothing may run beside it.
        spec_id: of the row that `picture` is from; 0 of a shard, which has none.
        checkpoint: the newest state of this stage that another incarnation has left, if any.
    """

    render_id: int
    fence: int
    job_id: UUID
    ordinal: int
    stage: Stage
    lane: Lane
    picture: dict[str, Any]
    seed: int
    key: str
    alone: bool
    spec_id: int
    latents: ObjectRef | None = None
    inputs: dict[bytes, ObjectRef] = field(default_factory=dict)
    checkpoint: ObjectRef | None = None


@dataclass(frozen=True, slots=True)
class Saved:
    """The state of a running render after some steps.

    Attributes:
        step: steps of the stage that are behind it.
        taken: those of them that were taken under this fence.
        ref: where it is; None while it is only planned.
    """

    render_id: int
    fence: int
    step: int
    taken: int
    ref: ObjectRef | None = None


@dataclass(frozen=True, slots=True)
class Release:
    """A render that a worker gives back unfinished.

    Attributes:
        steps: taken under this fence; None: not known.
        saved: its state, in the bucket, for whoever goes on.
    """

    render_id: int
    fence: int
    steps: int | None = None
    saved: Saved | None = None


@dataclass(frozen=True, slots=True)
class Done:
    """A stage that ended well; its object is in the bucket."""

    render_id: int
    fence: int
    ref: ObjectRef
    steps: int
    notes: dict[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Failure:
    """A stage that did not end well."""

    render_id: int
    fence: int
    error_class: ErrorClass
    message: str
    steps: int = 0


@dataclass(frozen=True, slots=True)
class Pick:
    """A render that dispatch took out of the backlog: what a message is made of."""

    render_id: int
    fence: int
    alone: bool


@dataclass(frozen=True, slots=True)
class Queue:
    """A row of `queues`. `wait_s` is the measured time from message to claim."""

    id: int
    name: str
    stage: Stage
    model: str
    lane: Lane
    wait_s: float = 0.0


@dataclass(frozen=True, slots=True)
class Picked:
    """What was taken out of a queue's backlog and is to be sent.

    Attributes:
        picks: in the order in which they should be sent.
        workers: live incarnations that serve the queue.
        capacity: renders that these hold at once, as far as they have said.
    """

    queue: Queue
    picks: tuple[Pick, ...]
    workers: int
    capacity: int


@dataclass(frozen=True, slots=True)
class Image:
    """One image of a job as users see it.

    Attributes:
        error: what happened on each worker that tried it (`story.tell`); only when failed.
        source_index: of the image that it was refined from, in the source job.
        gone_at: since when it is kept no longer; only of an image that is asked for alone.
    """

    index: int
    seed: int
    state: RenderState
    stage: Stage
    ref: ObjectRef | None
    notes: dict[str, Any]
    error: str | None = None
    source_index: int | None = None
    gone_at: datetime | None = None


@dataclass(frozen=True, slots=True)
class Source:
    """An image of a job, and what there is of it to be refined.

    Attributes:
        stored: render id and fence of the object; None while there is none, or no more.
        ref: where it is.
    """

    index: int
    seed: int
    state: RenderState
    stage: Stage
    stored: tuple[int, int] | None = None
    ref: ObjectRef | None = None


@dataclass(frozen=True, slots=True)
class Refinement:
    """A job that is to be made from what another one has left.

    Attributes:
        job_id: of the other one.
        source: `latents` or `image`.
        spec: complete; with source `image` each render has its own picture in place of `image`.
        sources: of its images, in their order; all of them are there.
        size: `(height, width)` of the images that are refined.
        format: of these images.
    """

    job_id: UUID
    source: str
    spec: RenderSpec
    sources: tuple[Source, ...]
    size: tuple[int, int]
    format: str


@dataclass(frozen=True, slots=True)
class Job:
    """One record of what a user asked for.

    Attributes:
        source_job_id: what a job of kind `refine` was made from; `source` tells whether from its
            `latents` or its `image`s.
        retain_days: days that its images are kept after the end; None: for ever.
        gone_at: since when they are kept no longer.
        deleted_at: when its user threw it away; then its spec has no prompts any more.
    """

    id: UUID
    kind: str
    tenant: str
    state: JobState
    lane: Lane
    priority: int
    seed: int
    num_images: int
    remaining: int
    failed: int
    keep_latents: int
    spec: dict[str, Any]
    metadata: dict[str, str]
    created_at: datetime
    started_at: datetime | None
    finished_at: datetime | None
    source_job_id: UUID | None = None
    source: str | None = None
    paused_at: datetime | None = None
    start_after: datetime | None = None
    retain_days: float | None = None
    gone_at: datetime | None = None
    deleted_at: datetime | None = None


@dataclass(frozen=True, slots=True)
class Event:
    """A row of the outbox. `type` is `job.running`, `image.succeeded`, ..."""

    id: int
    job_id: UUID
    type: str
    data: dict[str, Any]
    created_at: datetime
