"""The prediction of an event: what Replicate's clients are told by webhooks."""

from __future__ import annotations

import time
from datetime import datetime
from functools import partial
from typing import TYPE_CHECKING, Any
from uuid import UUID

from latentfarm.predictions import Teller
from latentfarm.records import Job
from latentfarm.signed_links import LinkSigner
from latentfarm.spec import RenderSpec
from latentfarm.states import FINAL_JOB, JobState, Lane

if TYPE_CHECKING:
    from collections.abc import Callable

    from latentfarm.registry import Registry
    from latentfarm.settings import Settings
    from latentfarm.webhooks.told import Told


def predictor(settings: Settings, registry: Registry) -> Callable[[Told], dict[str, Any]] | None:
    """Who writes predictions for webhooks; None where no bucket is named, whose secret key signs their links."""
    secret = settings.s3_secret_access_key.get_secret_value()
    if not secret:
        return None
    signer, base = LinkSigner(secret.encode()), settings.api_url.rstrip("/")
    return partial(predict, Teller(registry, signer, base, settings.link_s))


def predict(teller: Teller, told: Told) -> dict[str, Any]:
    """The prediction as it was when the event happened, with links that begin to count now."""
    return teller.tell(job_of(told), list(told.images), time.time()).model_dump(mode="json")


def job_of(told: Told) -> Job:
    """The job as it was when the event happened, as far as a prediction tells of it."""
    facts, state = told.job, JobState(told.job["state"])
    return Job(
        id=UUID(facts["id"]),
        kind=facts["kind"],
        tenant=told.tenant,
        state=state,
        lane=Lane(facts["lane"]),
        priority=facts["priority"],
        seed=facts["seed"],
        num_images=facts["num_images"],
        remaining=0 if state in FINAL_JOB else facts["num_images"],
        failed=facts["failed"],
        keep_latents=RenderSpec.model_fields["keep_latents"].default,
        # Without its spec the job was removed meanwhile.
        spec=told.picture or {"model": facts["model"]},
        metadata=facts["metadata"],
        created_at=datetime.fromisoformat(facts["created_at"]),
        started_at=_time(facts["started_at"]),
        finished_at=_time(facts["finished_at"]),
    )


def _time(text: str | None) -> datetime | None:
    return None if text is None else datetime.fromisoformat(text)
