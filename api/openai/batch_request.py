"""What OpenAI's clients send to make a batch, and what a line of its file is."""

from __future__ import annotations

from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field

from latentfarm.manifests.request import RowMetadata  # noqa: TC001 - pydantic needs the type at run time

ENDPOINT = "/v1/images/generations"
MAX_CUSTOM_ID = 190
"""Characters: with the number of an image behind it, it is the id of a row of a dataset."""
LONGEST_H = 720


class OutputExpiresAfter(BaseModel):
    """How long what comes of a batch is kept."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    anchor: Literal["created_at"] = Field(description="When its time begins: as the files come about.")
    seconds: int = Field(ge=3_600, le=2_592_000, description="How long it is.")


class BatchRequest(BaseModel):
    """A batch that is wanted."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    input_file_id: str = Field(max_length=128, description="Id of a file of purpose `batch`.")
    endpoint: str = Field(max_length=64, description=f"`{ENDPOINT}`; other routes take no batches here.")
    completion_window: str = Field(
        pattern=r"^[1-9]\d{0,2}h$",
        description=f"Hours after which what has not ended is taken back: `24h`, and here up to `{LONGEST_H}h`.",
    )
    metadata: RowMetadata | None = Field(None, description="The user's own strings, kept with the batch.")
    output_expires_after: OutputExpiresAfter | None = Field(
        None, description="How long its images are kept after its end; the farm's own term when absent."
    )


class RequestLine(BaseModel):
    """A line of the file of a batch."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    custom_id: str = Field(min_length=1, max_length=MAX_CUSTOM_ID)
    method: Literal["POST"]
    url: str
    body: dict[str, Any]
