"""What the API answers about the turn of a job that waits."""

from __future__ import annotations

from pydantic import BaseModel, ConfigDict, Field


class Told(BaseModel):
    """A part of `views.JobView`, and as forgiving of what it does not know."""

    model_config = ConfigDict(frozen=True, extra="ignore")


class QueuePlace(Told):
    """Where a job waits."""

    name: str = Field(description="The queue, such as `base.sdxl.bulk`.")
    ahead: int | None = Field(
        None,
        description="Renders that would be served before its next one: what is sent already, what its tenant's jobs and the"
        " other tenants have a claim to by then, and before bulk all that is interactive. By what jobs say of themselves:"
        " renders that wait for another stage count too. Null: it is held back.",
    )
    at_least: bool = Field(False, description="Whether more jobs wait than were counted.")
    held_back: str | None = Field(None, description="Why it is not served at all for now.")


class EstimateBasis(Told):
    """What an estimate is made of."""

    queue: str = Field(description="That was measured: its own, or that of the other lane.")
    renders_per_s: float | None = Field(None, description="That all its workers begin; null: nobody knows.")
    measured_renders: int = Field(description="That this was measured by; older ones count less.")
    measured_worker_s: float = Field(description="Seconds of workers in which these began.")
    workers: int = Field(description="Live workers that serve the queue now.")
    told: str = Field(description="The same as a sentence, or why there is no estimate.")


class JobEstimate(Told):
    """When the turn of a job may come, if no more comes in before it."""

    starts_in_s: float | None = Field(
        None, description="Seconds until its next render begins; null: nobody knows."
    )
    ends_in_s: float | None = Field(
        None, description="Seconds until its last one has ended; null: nobody knows."
    )
    basis: EstimateBasis = Field(description="What these are made of.")
