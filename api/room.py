"""A job in an answer that stays below 64 KiB, whatever its user wrote."""

from pydantic import BaseModel

from api.datasets_shown import within
from latentfarm.views import JobView

JOB_ROOM = 62 * 1024
"""Bytes that a job may take; what is added while it waits takes less than 2 KiB."""


def fitting(job: JobView) -> JobView:
    """A job with as many of its images as there is room for; the next page begins behind them."""
    over = _size_of(job) - JOB_ROOM
    if over <= 0 or not job.images:
        return job
    images = within(job.images, sum(map(_size_of, job.images)) - over)
    following = job.images_next if len(images) == len(job.images) else images[-1].index + 1
    return job.model_copy(update={"images": images, "images_next": following})


def _size_of(view: BaseModel) -> int:
    """Bytes of a view as JSON, and of the comma behind it."""
    return len(view.model_dump_json().encode()) + 1
