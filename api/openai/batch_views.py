"""Batches as OpenAI's clients read them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Literal

from pydantic import BaseModel, ConfigDict, Field

from api.openai.ids import FileId, batch_text

if TYPE_CHECKING:
    from datetime import datetime

    from api.openai.standing import Standing

Status = Literal[
    "validating", "failed", "in_progress", "finalizing", "completed", "expired", "cancelling", "cancelled"
]


class BatchErrorView(BaseModel):
    """What is wrong with the file of a batch as a whole."""

    model_config = ConfigDict(extra="forbid")

    code: str = Field(
        description="Such as `invalid_json_line`, `duplicate_custom_id`, `mismatched_endpoint`."
    )
    line: int | None = Field(None, description="Of the file, from 1.")
    message: str = Field(description="For a person.")
    param: str | None = Field(None, description="The field that is wrong.")


class BatchErrors(BaseModel):
    """The errors of a batch that has failed."""

    model_config = ConfigDict(extra="forbid")

    object: Literal["list"] = Field("list", description="Always `list`.")
    data: list[BatchErrorView] = Field(description="The first ones.")


class BatchCounts(BaseModel):
    """How far a batch is, in requests."""

    model_config = ConfigDict(extra="forbid")

    total: int = Field(description="Of its file.")
    completed: int = Field(description="That ended well; while some ask for several images, about so many.")
    failed: int = Field(description="That stand in the error file.")


class BatchView(BaseModel):
    """A batch."""

    model_config = ConfigDict(extra="forbid")

    id: str = Field(description="`batch_` and the id of the job of its dataset, whose name is `batch-<id>`.")
    object: Literal["batch"] = Field("batch", description="Always `batch`.")
    endpoint: str = Field(description="Of its requests.")
    errors: BatchErrors | None = Field(None, description="Why it has failed.")
    input_file_id: str = Field(description="The file that it was made of; may be deleted by now.")
    completion_window: str = Field(description="As it was asked for.")
    status: Status = Field(description="What it is at.")
    output_file_id: str | None = Field(None, description="What ended well, once nothing more is to come.")
    error_file_id: str | None = Field(None, description="What did not, once nothing more is to come.")
    created_at: int = Field(description="Seconds since 1970, as all times here.")
    in_progress_at: int | None = Field(None, description="When its first image began.")
    expires_at: int = Field(description="What has not ended then is taken back.")
    finalizing_at: int | None = Field(
        None, description="Always null: nobody writes down when packing begins."
    )
    completed_at: int | None = Field(None, description="When its last image was packed.")
    failed_at: int | None = Field(None, description="When its file was refused.")
    expired_at: int | None = Field(None, description="When its time was over.")
    cancelling_at: int | None = Field(None, description="When it was taken back.")
    cancelled_at: int | None = Field(None, description="When nothing of it was left to be taken back.")
    request_counts: BatchCounts = Field(description="How far it is.")
    metadata: dict[str, str] = Field(description="The user's own strings.")


class BatchList(BaseModel):
    """A page of batches."""

    model_config = ConfigDict(extra="forbid")

    object: Literal["list"] = Field("list", description="Always `list`.")
    data: list[BatchView] = Field(description="The batches, newest first.")
    first_id: str | None = Field(None, description="Id of the first one.")
    last_id: str | None = Field(None, description="Give it as `after` to read on.")
    has_more: bool = Field(description="Whether there are older ones.")


def view_of(standing: Standing) -> BatchView:
    """A batch with what has become of it."""
    batch, status = standing.batch, standing.status
    return BatchView(
        id=batch_text(batch.id),
        endpoint=batch.endpoint,
        errors=BatchErrors(data=[BatchErrorView(**one) for one in standing.errors])
        if standing.errors
        else None,
        input_file_id=str(FileId(batch.input_file, "")),
        completion_window=batch.completion_window,
        status=status,
        created_at=int(batch.created_at.timestamp()),
        expires_at=int(batch.expires_at.timestamp()),
        request_counts=BatchCounts(
            total=batch.requests, completed=standing.completed, failed=standing.failed
        ),
        metadata=batch.metadata,
        **_files(standing),
        **_times(standing),
    )


def _files(standing: Standing) -> dict[str, str]:
    """Its files once it has ended, as far as there is something in them."""
    if not standing.has_files:
        return {}
    named: dict[str, str] = {}
    if standing.completed:
        named["output_file_id"] = str(FileId(standing.batch.id, "output"))
    if standing.failed:
        named["error_file_id"] = str(FileId(standing.batch.id, "errors"))
    return named


def _times(standing: Standing) -> dict[str, int | None]:
    batch, dataset, status = standing.batch, standing.dataset, standing.status
    times: dict[str, Any] = {
        "in_progress_at": dataset and dataset.started_at,
        "completed_at": standing.ended_at if status == "completed" else None,
        "failed_at": standing.ended_at if status == "failed" else None,
        "expired_at": batch.expired_at,
        "cancelling_at": None if batch.expired_at else standing.taken_back_at,
        "cancelled_at": standing.ended_at if status == "cancelled" else None,
    }
    return {name: _seconds(time) for name, time in times.items()}


def _seconds(time: datetime | None) -> int | None:
    return None if time is None else int(time.timestamp())
