"""`JobWebhook`: whom a job tells of its end, besides the tenant's own webhooks."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, StringConstraints, WithJsonSchema

from latentfarm.webhooks.formats import FORMATS

MOST_URL = 2_048
Event = Literal["job.running", "job.succeeded", "job.failed", "job.cancelled", "dataset.rejected"]
Url = Annotated[str, StringConstraints(min_length=1, max_length=MOST_URL)]
Events = Annotated[tuple[Event, ...], Field(max_length=5)]


def _known(name: str) -> str:
    if name not in FORMATS:
        raise ValueError(f"one of {', '.join(FORMATS)}")
    return name


FormatName = Annotated[
    str,
    StringConstraints(max_length=64),
    AfterValidator(_known),
    WithJsonSchema({"type": "string", "enum": list(FORMATS)}),
]


class JobWebhook(BaseModel):
    """Where one job tells of its end. The tenant's default secret signs it."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    url: Url = Field(description="An https URL on port 443 of a public server.")
    events: Events = Field(
        (),
        description="What it is told of: `job.running`, `job.succeeded`, `job.failed`, `job.cancelled`; of the ends"
        " when absent.",
    )
    format: FormatName = Field(
        "native",
        description="Words of the payload: `native`; `openai` tells of datasets alone, as batches; `replicate` of jobs of"
        " kind `single` alone, as predictions, prompts and all.",
    )
