"""Files as OpenAI's clients read them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

from pydantic import BaseModel, ConfigDict, Field

from api.openai.ids import FileId

if TYPE_CHECKING:
    from latentfarm.repository.files import StoredFile


class OpenAIFile(BaseModel):
    """A file."""

    model_config = ConfigDict(extra="forbid")

    id: str = Field(description="`file-...`; of a batch `file-<id>-output` and `file-<id>-errors`.")
    object: Literal["file"] = Field("file", description="Always `file`.")
    bytes: int = Field(description="Size of its content.")
    created_at: int = Field(description="Seconds since 1970.")
    expires_at: int | None = Field(None, description="From then on it is gone; null: it has no end.")
    filename: str = Field(description="As it was sent.")
    purpose: Literal["batch", "batch_output"] = Field(description="What it is for, or where it comes from.")
    status: Literal["processed"] = Field("processed", description="Always `processed`.")


class OpenAIFileList(BaseModel):
    """A page of files."""

    model_config = ConfigDict(extra="forbid")

    object: Literal["list"] = Field("list", description="Always `list`.")
    data: list[OpenAIFile] = Field(
        description="The files that were sent; those of batches are named by them."
    )
    first_id: str | None = Field(None, description="Id of the first one.")
    last_id: str | None = Field(None, description="Give it as `after` to read on.")
    has_more: bool = Field(description="Whether there are more.")


class FileDeleted(BaseModel):
    """What is told of a file that was deleted."""

    model_config = ConfigDict(extra="forbid")

    id: str = Field(description="Of the file.")
    object: Literal["file"] = Field("file", description="Always `file`.")
    deleted: bool = Field(True, description="Always true.")


def view_of(found: StoredFile) -> OpenAIFile:
    """A file that a client has sent."""
    return OpenAIFile(
        id=str(FileId(found.id, "")),
        bytes=found.size,
        created_at=int(found.created_at.timestamp()),
        expires_at=None if found.expires_at is None else int(found.expires_at.timestamp()),
        filename=found.filename,
        purpose="batch",
    )
