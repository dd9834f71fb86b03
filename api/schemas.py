"""From records to what users see."""

import dataclasses
from typing import Any
from uuid import UUID

from starlette.datastructures import URL

from api.datasets_shown import within
from latentfarm.evidence import Attempt
from latentfarm.modes import first_stage
from latentfarm.records import Image, Job
from latentfarm.retention import expires_at
from latentfarm.spec import SEED_RANGE, RenderSpec
from latentfarm.states import JobState, RenderState, Stage
from latentfarm.views import AttemptList, AttemptView, ImageView, JobSummary, JobView, RefinedFrom

PROMPT_SHOWN = 200


def job_url(base: URL, job_id: UUID) -> str:
    """Where a job is shown, seen from the client that asks."""
    return f"{str(base).rstrip('/')}/v1/jobs/{job_id}"


def summary(job: Job, base: URL) -> JobSummary:
    """A job as lists show it."""
    return JobSummary(**_common(job, base))


def in_full(
    job: Job, base: URL, counts: dict[RenderState, int], images: list[Image], images_next: int | None
) -> JobView:
    """A job with its counts and a page of its images."""
    return JobView(
        **_common(job, base),
        spec=_spec(job),
        events_url=f"{job_url(base, job.id)}/events",
        counts={state.label: counts.get(state, 0) for state in RenderState},
        images=[_image(image, job_url(base, job.id)) for image in images],
        images_next=images_next,
    )


def as_accepted(job: Job, base: URL, page: int, images: list[Image] | None = None) -> JobView:
    """A job as it was when it was accepted: what a submit answers, also when it is repeated later.

    Args:
        images: the first ones, where their seeds do not follow from the job's.
    """
    url = job_url(base, job.id)
    shown = min(page, job.num_images)
    common = _common(job, base) | {
        "state": JobState.QUEUED,
        "remaining": job.num_images,
        "failed": 0,
        "started_at": None,
        "finished_at": None,
        "paused_at": None,
        "expires_at": None,
        "gone_at": None,
    }
    return JobView(
        **common,
        spec=_spec(job),
        events_url=f"{url}/events",
        counts={state.label: 0 for state in RenderState} | {"queued": job.num_images},
        images=[_image(image, url) for image in _fresh(job, images, shown)],
        images_next=shown if shown < job.num_images else None,
    )


def _fresh(job: Job, images: list[Image] | None, shown: int) -> list[Image]:
    if images is None:
        stage = first_stage(RenderSpec.model_validate(job.spec))
        return [Image(i, _seed(job, i), RenderState.QUEUED, stage, None, {}) for i in range(shown)]
    return [
        Image(one.index, one.seed, RenderState.QUEUED, Stage.REFINE, None, {}, source_index=one.source_index)
        for one in images
    ]


def _common(job: Job, base: URL) -> dict[str, Any]:
    return {
        "id": job.id,
        "kind": job.kind,
        "refined_from": _refined_from(job, base),
        "state": job.state,
        "lane": job.lane,
        "priority": job.priority,
        "model": job.spec["model"],
        "prompt": job.spec["prompt"][:PROMPT_SHOWN],
        "seed": job.seed,
        "num_images": job.num_images,
        "remaining": job.remaining,
        "failed": job.failed,
        "metadata": job.metadata,
        "created_at": job.created_at,
        "started_at": job.started_at,
        "finished_at": job.finished_at,
        "paused_at": job.paused_at,
        "start_after": job.start_after,
        "expires_at": expires_at(job.finished_at, job.retain_days),
        "gone_at": job.gone_at,
        "deleted_at": job.deleted_at,
        "url": job_url(base, job.id),
    }


def _refined_from(job: Job, base: URL) -> RefinedFrom | None:
    if job.source_job_id is None or job.source is None:
        return None
    url = job_url(base, job.source_job_id)
    return RefinedFrom.model_validate({"job": job.source_job_id, "source": job.source, "url": url})


def _spec(job: Job) -> dict[str, Any]:
    """The whole spec again: the stored picture with the fields that belong to the job."""
    own = {"num_images": job.num_images, "seed": job.seed, "lane": job.lane.value, "priority": job.priority}
    kept = {"keep_latents": job.keep_latents, "retain_days": job.retain_days}
    whole = {**job.spec, **own, **kept, "metadata": job.metadata}
    # JSONB forgets the order of keys; people like to find the prompt before the crop coordinates.
    return {name: whole.pop(name) for name in RenderSpec.model_fields if name in whole} | whole


def _seed(job: Job, index: int) -> int:
    return (job.seed + index) % SEED_RANGE


def attempts(found: list[Attempt]) -> AttemptList:
    """The story of an image; its last part where the whole of it would be long."""
    newest = (AttemptView(**dataclasses.asdict(one) | {"stage": one.stage.label}) for one in reversed(found))
    return AttemptList(data=within(newest)[::-1])


def _image(image: Image, url: str) -> ImageView:
    return ImageView(
        index=image.index,
        seed=image.seed,
        state=image.state.label,
        stage=image.stage.label,
        url=f"{url}/images/{image.index}",
        sha256=image.ref.sha256.hex() if image.ref else None,
        size=image.ref.size if image.ref else None,
        error=image.error,
        source_index=image.source_index,
        warnings=image.notes.get("warnings", []),
    )
