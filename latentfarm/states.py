"""States, stages, and the one table that says which may follow which.

`docs/states.md` is drawn from `TRANSITIONS`; a test compares them.
"""

from enum import IntEnum, StrEnum

from latentfarm.errors import InvalidInput


class Stage(IntEnum):
    """Which part of the work a render waits for or is in."""

    BASE = 0
    REFINE = 1
    SEAL = 2  # pack finished images into a shard

    @property
    def label(self) -> str:
        """The lower-case name that queues, URLs and metrics carry."""
        return self.name.lower()


STAGES = "base, refine, or seal alone"
"""What a worker may serve."""


def parse_stages(text: str) -> tuple[Stage, ...]:
    """`base,refine` -> the stages that a worker serves.

    Raises:
        InvalidInput: a name that is no stage, or stages that one worker cannot serve together.
    """
    names = [name.strip() for name in text.split(",") if name.strip()]
    known = {stage.label: stage for stage in Stage}
    for name in names:
        if name not in known:
            raise InvalidInput("--stages", f"no stage {name!r}", STAGES)
    if not names:
        raise InvalidInput("--stages", "at least one is needed", STAGES)
    stages = tuple(sorted({known[name] for name in names}))
    if Stage.SEAL in stages and len(stages) > 1:
        raise InvalidInput("--stages", "seal needs no device, and a worker of its own", STAGES)
    return stages


class Lane(StrEnum):
    """Where a job waits."""

    INTERACTIVE = "interactive"
    BULK = "bulk"


class RenderState(IntEnum):
    """The life of one render."""

    QUEUED = 0
    """In SQL only. The scheduler (or the API, right after its commit) dispatches it."""
    DISPATCHED = 1
    """A message for it is, or was, in Redis. A worker claims it; the scheduler sends again what was lost."""
    RUNNING = 2
    """An incarnation owns it. That incarnation finishes, fails or releases it; its parent, or the
    scheduler once the lease is over, takes it back."""
    SUCCEEDED = 3
    """Final: the object is visible. `latentfarm verify --repair` takes it back when that object is lost, and whoever
    packs its shard when the image is to be rendered again with another seed. Of a dataset it goes when it is packed."""
    FAILED = 4
    """Final: the attempts tell why. A user may have it tried again: `retry` of a job, `retry-failed` of a dataset."""
    CANCELLED = 5
    """Final: the job was cancelled before this render had ended."""

    @property
    def label(self) -> str:
        """The lower-case name that URLs and metrics carry."""
        return self.name.lower()


class JobState(StrEnum):
    """The life of a job; follows from its renders."""

    QUEUED = "queued"  # accepted, nothing has run yet
    RUNNING = "running"  # a worker has claimed one of its renders
    SUCCEEDED = "succeeded"  # every image is there
    FAILED = "failed"  # at least one render failed; the finished images stay readable
    CANCELLED = "cancelled"  # the user said so before the end


S = RenderState

#: State in which a render is stored -> by whom, and when.
BEGINNINGS: dict[RenderState, str] = {
    S.QUEUED: "API, or scheduler for a dataset: it waits for its turn",
    S.DISPATCHED: "API: it is interactive, nothing else waits in its queue, and the window has room",
}

#: (from, to) -> who does it, and why.
TRANSITIONS: dict[tuple[RenderState, RenderState], str] = {
    (S.QUEUED, S.DISPATCHED): "dispatch: there is room in the queue's window",
    (S.DISPATCHED, S.RUNNING): "worker: claimed",
    (
        S.RUNNING,
        S.QUEUED,
    ): "worker: stage done, try again, left to another device, or drained; parent or scheduler: rescued",
    (S.RUNNING, S.SUCCEEDED): "worker: the last stage is done and its object is there",
    (S.RUNNING, S.FAILED): "worker, parent or scheduler: out of tries or starts",
    (
        S.SUCCEEDED,
        S.QUEUED,
    ): "operator: verify found its object missing or altered; packer: its image is wanting and gets another seed",
    (S.FAILED, S.QUEUED): "API: retry of its job, or retry-failed of its dataset",
    (S.QUEUED, S.CANCELLED): "API: the job was cancelled",
    (S.DISPATCHED, S.CANCELLED): "API: the job was cancelled",
    (S.RUNNING, S.CANCELLED): "API: the job was cancelled; the worker learns it by its fence",
}

LIVE = frozenset({S.QUEUED, S.DISPATCHED, S.RUNNING})
FINAL = frozenset(RenderState) - LIVE
FINAL_JOB = frozenset({JobState.SUCCEEDED, JobState.FAILED, JobState.CANCELLED})


def may_follow(before: RenderState, after: RenderState) -> bool:
    """Whether a render in state `before` may enter `after`."""
    return (before, after) in TRANSITIONS


def final_job_state(*, cancelled: bool, failed: int) -> JobState:
    """How a job ends whose renders are all final.

    Args:
        cancelled: whether cancel came before the end.
        failed: how many of its renders failed.
    """
    if cancelled:
        return JobState.CANCELLED
    return JobState.FAILED if failed else JobState.SUCCEEDED
