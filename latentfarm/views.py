"""What the API answers, and what the client reads: one set of models for both ends."""

from __future__ import annotations

from datetime import datetime  # noqa: TC003 - pydantic needs the type at run time
from typing import Any, Literal
from uuid import UUID  # noqa: TC003 - pydantic needs the type at run time

from pydantic import BaseModel, ConfigDict, Field

from latentfarm.queue_views import JobEstimate, QueuePlace  # noqa: TC001 - pydantic needs the types at run time
from latentfarm.references import MAX_INPUT_BYTES, MAX_MANIFEST_BYTES
from latentfarm.states import FINAL_JOB, JobState, Lane


class View(BaseModel):
    """What an answer is made of."""

    # A client may be older than its API: what it does not know it leaves out.
    model_config = ConfigDict(frozen=True, extra="ignore")


class ImageView(View):
    """One image of a job."""

    index: int = Field(description="Counted from 0.")
    seed: int = Field(description="With the job's spec and this seed the image can be made again alone.")
    state: Literal["queued", "dispatched", "running", "succeeded", "failed", "cancelled"]
    stage: Literal["base", "refine", "seal"] = Field(description="What it waits for, or is in.")
    url: str = Field(description="Where the image is, or will be.")
    sha256: str | None = Field(None, description="Of the file, in hexadecimal; once it is there.")
    size: int | None = Field(None, description="Bytes of the file; once it is there.")
    error: str | None = Field(
        None,
        description="Why it failed: what happened on each worker, cut short; its attempts have the whole.",
    )
    source_index: int | None = Field(
        None, description="Of the image that it was refined from, in the job that `refined_from` names."
    )
    warnings: list[str] = Field(
        default_factory=list, description="What to know about it, such as a prompt that was cut."
    )


class AttemptView(View):
    """What happened in one claim of an image."""

    worker: int = Field(description="The life of a worker process; each has a number of its own.")
    device: str = Field(description="The device on its host, such as `cuda:0`.")
    device_name: str | None = Field(None, description="What its maker calls it, once the worker was ready.")
    stage: Literal["base", "refine", "seal"] = Field(description="The stage that was claimed.")
    started_at: datetime = Field(description="When it was claimed.")
    ended_at: datetime | None = Field(None, description="When the claim ended; null: it still runs.")
    steps: int | None = Field(None, description="Steps that were done, as far as is known.")
    outcome: str | None = Field(
        None,
        description="`handed_over` to the refiner, `succeeded`, `failed`, `lost` with its process, `released` by a"
        " worker that stopped, or `cancelled`; null: it still runs.",
    )
    error_class: str | None = Field(
        None, description="What kind of failure it was; docs/operations.md lists them."
    )
    message: str | None = Field(None, description="What the worker said, or why its process ended.")
    charged: bool = Field(description="Whether it counted against the image; three end it.")
    refunded: bool = Field(
        description="Whether the charge was taken back, since the device failed other images too."
    )


class AttemptList(View):
    """The last claims of an image, oldest first."""

    object: Literal["list"] = Field("list", description="Always `list`.")
    data: list[AttemptView] = Field(description="At most the last 20.")


class RefinedFrom(View):
    """What a job of kind `refine` was made from."""

    job: UUID = Field(description="The job whose images were refined.")
    source: Literal["latents", "image"] = Field(
        description="Whether from what its base left, or from its finished images."
    )
    url: str = Field(description="Where that job is shown.")


class JobSummary(View):
    """A job in a list."""

    object: Literal["job"] = "job"
    id: UUID
    kind: str = Field(
        description="`single`: one spec, some images; `refine`: made from another job; `dataset`: of a manifest."
    )
    refined_from: RefinedFrom | None = Field(None, description="What a job of kind `refine` was made from.")
    state: JobState
    lane: Lane
    priority: int
    model: str
    prompt: str = Field(description="Its first 200 characters.")
    seed: int = Field(
        description="Image i has the seed `(seed + i) mod 2^53`; of kind `refine` that of the image that it was"
        " made from, and this is the first one's."
    )
    num_images: int
    remaining: int = Field(description="Images that are not final yet.")
    failed: int = Field(description="Images that failed.")
    metadata: dict[str, str] = Field(description="The user's own strings.")
    created_at: datetime
    started_at: datetime | None = Field(None, description="When a worker took its first image.")
    finished_at: datetime | None = Field(None, description="When the last image became final.")
    paused_at: datetime | None = Field(None, description="Since when nothing more of it is sent to workers.")
    start_after: datetime | None = Field(None, description="Nothing of it is sent to workers before.")
    expires_at: datetime | None = Field(
        None, description="When its images go; null while it is at work, and where they are kept for ever."
    )
    gone_at: datetime | None = Field(None, description="Since when its images are gone; the record stays.")
    deleted_at: datetime | None = Field(
        None, description="When it was thrown away; then prompts and metadata are empty."
    )
    url: str = Field(description="Where this job is shown.")

    @property
    def is_final(self) -> bool:
        """Whether nothing about it will change any more."""
        return self.state in FINAL_JOB


class JobView(JobSummary):
    """A job in full, with a page of its images."""

    spec: dict[str, Any] = Field(
        description="The spec with every default filled in. Of several images that were refined from images,"
        " each has its own `image`, and here it is null."
    )
    events_url: str = Field(description="States and steps as server-sent events.")
    queue: QueuePlace | None = Field(
        None,
        description="Where it waits, while nothing of it has begun; else, and in answers to a submit, null.",
    )
    estimate: JobEstimate | None = Field(None, description="When its turn may come; null where `queue` is.")
    counts: dict[str, int] = Field(description="Images by state.")
    images: list[ImageView] = Field(description="Images from `images_from` on.")
    images_next: int | None = Field(None, description="`images_from` of the next page; null: the last one.")


class JobList(View):
    """A page of jobs, newest first."""

    object: Literal["list"] = "list"
    data: list[JobSummary]
    has_more: bool
    next_cursor: str | None = Field(None, description="Give it as `after` to read on.")


class SamplerView(View):
    """What one sampler takes."""

    name: str
    sigma_schedules: list[str] = Field(description="Values of `sigma_schedule`.")
    timestep_spacings: list[str] = Field(description="Values of `timestep_spacing`.")
    takes: list[Literal["timesteps", "sigmas", "eta", "rescale_betas_zero_snr"]] = Field(
        description="Further fields that apply."
    )


class UploadRequest(BaseModel):
    """What is going to be uploaded."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    size: int = Field(
        ge=1,
        le=MAX_MANIFEST_BYTES,
        description=f"Bytes of the file; of a picture at most {MAX_INPUT_BYTES}.",
    )
    purpose: Literal["image", "manifest"] = Field(
        "image",
        description="What it is for: a PNG, JPEG or WebP of at most 16 megapixels that a job starts from, or"
        " the rows of a dataset.",
    )


class UploadView(View):
    """Leave to upload one file."""

    object: Literal["upload"] = "upload"
    id: UUID = Field(
        description="For `image` or `mask_image` of a spec, or `manifest.upload` of a dataset, once the file is there."
    )
    method: Literal["PUT"] = "PUT"
    url: str = Field(description="Where to put the file; signed, needs no other key.")
    size: int = Field(description="Bytes that the link takes, no more and no less.")
    expires_at: datetime = Field(description="Until then the link, and the upload, can be used.")


class ModelView(View):
    """A model of the registry, in OpenAI's shape with our fields added."""

    object: Literal["model"] = "model"
    id: str
    created: int = Field(description="Seconds since 1970 at which the registry was last changed.")
    owned_by: str = "latentfarm"
    native_size: list[int] = Field(description="[height, width] in pixels when a spec gives none.")
    min_size: int = Field(description="Least pixels of either side.")
    max_size: int = Field(description="Most pixels of either side.")
    size_multiple: int = Field(8, description="Sides are multiples of this.")
    max_images: int = Field(description="Images of one job, at most.")
    max_steps: int
    max_prompt_chars: int
    refiner: bool = Field(description="Whether specs may ask for the refiner.")
    loras: dict[str, str] = Field(description="LoRAs that specs may name, and the stage of each.")
    embeddings: dict[str, str] = Field(description="Embeddings that specs may name, and their tokens.")
    default_sampler: str
    samplers: list[SamplerView]
    dtype: str
    bucket: int = Field(description="Rows of one UNet forward.")
    ready_workers: dict[str, int] = Field(description="Warm workers that serve the model, by stage.")
    hashes: dict[str, list[str]] = Field(
        default_factory=dict, description="SHA-256 of the weights that warm workers have loaded, by stage."
    )


class ModelList(View):
    """All models."""

    object: Literal["list"] = "list"
    data: list[ModelView]


class EventView(View):
    """One server-sent event.

    Attributes:
        id: what `Last-Event-ID` takes; progress has none, since it is not kept.
        type: `job.running`, `image.succeeded`, `image.failed`, `job.succeeded`, ..., `job.current` in place of
            events that are kept no longer; `progress`, or `preview`.
        data: `state` and `failed` of a job, `index` of an image; `index`, `stage`, `step`, `total`
            of progress, and of a preview its `media_type` and file, `b64_json`, too.
    """

    id: int | None
    type: str
    data: dict[str, Any]

    @property
    def is_final(self) -> bool:
        """Whether the job has ended."""
        return self.type in FINAL_EVENTS


class ComplaintView(View):
    """One thing that is wrong with a request."""

    field: str = Field(description="Dotted path, such as `refiner.high_noise_frac`.")
    code: str = Field(description="`invalid`, `not_supported`, `unknown_model`, `malformed_json`, ...")
    message: str
    allowed: str = Field("", description="What would be right.")
    line: int | None = Field(
        None, description="Of a manifest, counted from 1; of Parquet and of rows in the request, the row."
    )


class QuotaView(View):
    """The quota that a request would pass."""

    name: str = Field(
        description="`max_cost_in_flight`, `max_cost_per_day`, `max_storage_bytes` or `max_files`."
    )
    unit: str = Field(description="`units` of cost, which quotes call megapixel-steps, `bytes` or `files`.")
    limit: float = Field(description="What the tenant may have.")
    used: float = Field(description="What of that is used.")
    asked: float = Field(description="What this would be besides.")
    resets_at: datetime | None = Field(
        None, description="When the day ends, or the next file goes; null for other quotas."
    )


class ProblemView(View):
    """An RFC 9457 problem document."""

    type: str = Field(description="A URN that stays the same for this kind of problem.")
    title: str
    status: int
    detail: str
    instance: str = Field(description="The path that was asked for.")
    errors: list[ComplaintView] = Field(default_factory=list)
    quota: QuotaView | None = Field(None, description="With `quota_exceeded` only: which, and how it stands.")


FINAL_EVENTS = frozenset(f"job.{state.value}" for state in FINAL_JOB)
