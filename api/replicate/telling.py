"""Predictions out of the records, as an answer shows them."""

from __future__ import annotations

import time
from dataclasses import replace
from typing import TYPE_CHECKING

from latentfarm.errors import NotFound, ServiceUnavailable
from latentfarm.predictions import MOST_SHOWN, Teller
from latentfarm.repository import listing, reading
from latentfarm.signed_links import LinkSigner
from latentfarm.states import FINAL_JOB, JobState

if TYPE_CHECKING:
    from uuid import UUID

    from fastapi import Request
    from sqlalchemy import Connection

    from api.deps import Services
    from latentfarm.predictions import PredictionView
    from latentfarm.records import Image, Job
    from latentfarm.repository.listing import Wanted

KIND = "single"
"""Of the jobs that are predictions. Those of other doors are among them: a job is a job."""
PAGE = 20


def signer_of(use: Services) -> LinkSigner:
    """Who signs links to images.

    Raises:
        ServiceUnavailable: no bucket is named, and so nothing that all API processes know.
    """
    secret = use.settings.s3_secret_access_key.get_secret_value()
    if not secret:
        raise ServiceUnavailable("links are signed with the secret key of the bucket, which is not set")
    return LinkSigner(secret.encode())


def teller_of(use: Services, request: Request) -> Teller:
    """Who tells of predictions to the client that asks."""
    base = str(request.base_url).rstrip("/")
    return Teller(use.registry, signer_of(use), base, use.settings.link_s)


def shown(use: Services, teller: Teller, job_id: UUID, *, tenant: str) -> PredictionView:
    """A prediction as it is now.

    Raises:
        NotFound: the tenant has no such prediction.
    """

    def read(connection: Connection) -> tuple[Job, list[Image]] | None:
        job = reading.get_job(connection, job_id, tenant=tenant)
        return None if job is None else (job, _images(connection, job))

    found = use.repository.transact(read)
    if found is None or found[0].kind != KIND:
        raise NotFound(f"no job {job_id}")
    return teller.tell(*found, time.time())


def accepted(use: Services, teller: Teller, job_id: UUID, *, tenant: str) -> PredictionView:
    """A prediction as it was when it was taken.

    `starting` whatever has become of it since: to the stock client any other status after `Prefer: wait` is an end.
    """
    job = use.repository.get_job(job_id, tenant=tenant)
    if job is None:
        raise NotFound(f"the job {job_id} of this Idempotency-Key was removed")
    fresh = replace(
        job,
        state=JobState.QUEUED,
        remaining=job.num_images,
        failed=0,
        started_at=None,
        finished_at=None,
        gone_at=None,
    )
    return teller.tell(fresh, [], time.time())


def page(
    use: Services, teller: Teller, wanted: Wanted, *, tenant: str, before: UUID
) -> tuple[list[PredictionView], UUID | None]:
    """Predictions older than `before`, newest first, and the id to go on behind; None: there are no more."""

    def read(connection: Connection) -> tuple[list[tuple[Job, list[Image]]], UUID | None]:
        jobs, following = listing.find(connection, wanted, tenant=tenant, before=before, limit=PAGE)
        return [(job, _images(connection, job)) for job in jobs], following

    found, following = use.repository.transact(read)
    return [teller.tell(job, images, time.time()) for job, images in found], following


def _images(connection: Connection, job: Job) -> list[Image]:
    """Those that its prediction shows: none before the end."""
    return reading.images(connection, job.id, limit=MOST_SHOWN) if job.state in FINAL_JOB else []
