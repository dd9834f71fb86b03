"""A job as Replicate's clients read it: a prediction. Pure, so that whoever sends webhooks renders the same one."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime  # noqa: TC003 - pydantic needs the type at run time
from typing import TYPE_CHECKING, Any, Literal

from pydantic import Field

from latentfarm.model_versions import version_of
from latentfarm.signed_links import Linked
from latentfarm.spec import RenderSpec
from latentfarm.states import FINAL_JOB, JobState, RenderState
from latentfarm.views import View

if TYPE_CHECKING:
    from latentfarm.records import Image, Job
    from latentfarm.registry import Registry
    from latentfarm.signed_links import LinkSigner

OWNER = "latentfarm"
"""What stands before the slash of every model's name."""
PREFIX = "/replicate/v1"
MOST_SHOWN = 64
"""Images whose links one prediction holds."""
UNREGISTERED = "0" * 64
"""The version of a model that the registry no longer has."""

_STATUS: dict[JobState, Literal["starting", "processing", "succeeded", "failed", "canceled"]] = {
    JobState.QUEUED: "starting",
    JobState.RUNNING: "processing",
    JobState.SUCCEEDED: "succeeded",
    JobState.FAILED: "failed",
    JobState.CANCELLED: "canceled",
}
NAMES = {
    "num_images": "num_outputs",
    "strength": "prompt_strength",
    "mask_image": "mask",
    "sampler": "scheduler",
}
"""What a spec calls it -> what inputs call it."""


class PredictionUrls(View):
    """Where a prediction is."""

    get: str = Field(description="Shows it.")
    cancel: str = Field(description="Takes it back, by POST.")


class PredictionView(View):
    """A job in Replicate's words."""

    id: str = Field(description="Id of the job, for `GET /v1/jobs/{job_id}` too.")
    model: str = Field(description="`latentfarm/` and the name in the registry.")
    version: str = Field(description="The version that the registry has of it now.")
    status: Literal["starting", "processing", "succeeded", "failed", "canceled"] = Field(
        description="`starting`: it waits. An answer to a submit that ended before the job says so in any case."
    )
    input: dict[str, Any] = Field(description="With these inputs the same images are made again.")
    output: list[str] | None = Field(
        description="Links to the images, good for some minutes, once it has ended; null: there are none."
    )
    error: str | None = Field(description="Why it failed.")
    logs: str = Field(description="The seed, and how many images are done.")
    metrics: dict[str, float] = Field(
        description="Seconds: `predict_time` from its start to its end, `total_time` with what it waited."
    )
    created_at: datetime = Field(description="When it was accepted.")
    started_at: datetime | None = Field(description="When a worker took its first image.")
    completed_at: datetime | None = Field(description="When it ended.")
    source: Literal["api"] = Field("api", description="Always `api`.")
    data_removed: bool = Field(description="Whether its images are kept no longer.")
    urls: PredictionUrls = Field(description="Where it is.")


@dataclass(frozen=True, slots=True)
class Teller:
    """What it takes to tell of predictions.

    Attributes:
        base: of the API as its users reach it, without a slash at the end.
        link_s: seconds that the links to images are good for.
    """

    registry: Registry
    signer: LinkSigner
    base: str
    link_s: int

    def tell(self, job: Job, images: list[Image], now: float) -> PredictionView:
        """A job of kind `single` as a prediction.

        Args:
            images: its first ones, in order.
            now: seconds since 1970, from which the links count.
        """
        model = job.spec["model"]
        entry = self.registry.entries.get(model)
        url = f"{self.base}{PREFIX}/predictions/{job.id}"
        return PredictionView(
            id=str(job.id),
            model=f"{OWNER}/{model}",
            version=UNREGISTERED if entry is None else version_of(entry),
            status=_STATUS[job.state],
            input=inputs_of(job),
            output=self._output(job, images, now),
            error=_error(job, images),
            logs=_logs(job),
            metrics=_metrics(job),
            created_at=job.created_at,
            started_at=job.started_at,
            completed_at=job.finished_at,
            data_removed=job.gone_at is not None,
            urls=PredictionUrls(get=url, cancel=f"{url}/cancel"),
        )

    def _output(self, job: Job, images: list[Image], now: float) -> list[str] | None:
        if job.state not in FINAL_JOB or job.gone_at is not None:
            return None
        there = [image for image in images if image.ref is not None][:MOST_SHOWN]
        return [self._link(job, image, now) for image in there] or None

    def _link(self, job: Job, image: Image, now: float) -> str:
        token = self.signer.token(Linked(job.id, image.index, job.tenant, int(now) + self.link_s))
        return f"{self.base}{PREFIX}/outputs/{token}/{file_name(image)}"


def file_name(image: Image) -> str:
    """What the file of an image is called in its link. The image must be there."""
    if image.ref is None:
        raise ValueError(f"image {image.index} is not there")
    return f"out-{image.index}.{image.ref.key.rsplit('.', 1)[1]}"


def inputs_of(job: Job) -> dict[str, Any]:
    """The inputs that make a job's images again: what it was asked for, and what was decided for it.

    None of a job whose spec is there no more.
    """
    if "prompt" not in job.spec:
        return {}
    own = {"num_images": job.num_images, "seed": job.seed, "lane": job.lane.value, "priority": job.priority}
    kept = {"keep_latents": job.keep_latents, "retain_days": job.retain_days, "metadata": job.metadata}
    spec = RenderSpec.model_validate({**job.spec, **own, **kept})
    told = spec.model_dump(mode="json", exclude_defaults=True, exclude={"model", "output"})
    if "refiner" in told and spec.refiner is not None:
        told["refiner"] = spec.refiner.model_dump(mode="json", exclude_none=True)
    inputs = {NAMES.get(name, name): value for name, value in told.items()}
    if spec.output.format != "png":
        inputs["output_format"] = spec.output.format
    if spec.output.quality is not None:
        inputs["output_quality"] = spec.output.quality
    return {"prompt": spec.prompt, **inputs}


def _error(job: Job, images: list[Image]) -> str | None:
    if job.state is not JobState.FAILED:
        return None
    failed = [image for image in images if image.state is RenderState.FAILED]
    if not failed:
        return f"{job.failed} of {job.num_images} images failed"
    many = f" ({job.failed} of {job.num_images} images failed)" if job.num_images > 1 else ""
    return f"image {failed[0].index}: {failed[0].error}{many}"


def _logs(job: Job) -> str:
    """The last line is one that clients read the progress from."""
    done = job.num_images - job.remaining
    filled = 10 * done // job.num_images
    bar = "█" * filled + " " * (10 - filled)
    return f"Using seed: {job.seed}\n{100 * done // job.num_images:3d}%|{bar}| {done}/{job.num_images}\n"


def _metrics(job: Job) -> dict[str, float]:
    if job.finished_at is None:
        return {}
    total = {"total_time": (job.finished_at - job.created_at).total_seconds()}
    if job.started_at is None:
        return total
    return {"predict_time": (job.finished_at - job.started_at).total_seconds(), **total}
