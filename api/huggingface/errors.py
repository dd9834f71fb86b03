"""Problems as `InferenceClient` reads them: a sentence under `error`."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from pydantic import BaseModel, Field

if TYPE_CHECKING:
    from api.problems import ProblemError

PREFIX = "/huggingface/"
"""Of the paths that speak Hugging Face's language only."""


class InferenceError(BaseModel):
    """An answer that is no success."""

    error: str = Field(description="For a person: each field that is wrong, and what is allowed.")
    error_type: str = Field(description="The last part of a problem's type, such as `invalid`.")
    field: str | None = Field(None, description="The first field that is wrong.")


def speaks_huggingface(path: str) -> bool:
    """Whether whoever asks for a path expects Hugging Face's errors."""
    return path.startswith(PREFIX)


def error_of(problem: ProblemError) -> dict[str, Any]:
    """The body of an answer."""
    told = problem.errors
    return InferenceError(
        error="; ".join(map(str, told)) or problem.detail,
        error_type=problem.code,
        field=told[0].field if told else None,
    ).model_dump(exclude_none=True)
