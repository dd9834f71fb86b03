"""Problems as Replicate's clients read them: RFC 7807 documents, with `invalid_fields` where inputs are wrong."""

from __future__ import annotations

from http import HTTPStatus
from typing import TYPE_CHECKING, Any

from pydantic import BaseModel, Field

if TYPE_CHECKING:
    from api.problems import ProblemError
    from latentfarm.errors import InvalidInput

PREFIX = "/replicate/"
"""Of the paths that speak Replicate's language only."""


class InvalidField(BaseModel):
    """One field that is wrong."""

    type: str = Field(description="What is wrong, in short, such as `invalid` or `not_supported`.")
    field: str = Field(description="Its path, such as `input.num_outputs`.")
    description: str = Field(description="What is wrong, and what is allowed.")


class PredictionProblem(BaseModel):
    """An answer that is no success, as Replicate gives it."""

    type: str = Field(description="Of the problem: `urn:latentfarm:problem:...`.")
    title: str = Field(description="The same for all problems of its status.")
    status: int = Field(description="Of the answer.")
    detail: str = Field(description="For a person: each field that is wrong, and what is allowed.")
    invalid_fields: list[InvalidField] | None = Field(None, description="Each field that is wrong.")


def speaks_replicate(path: str) -> bool:
    """Whether whoever asks for a path expects Replicate's problems."""
    return path.startswith(PREFIX)


def problem_of(problem: ProblemError) -> dict[str, Any]:
    """The body of an answer."""
    wrong = [_field(error) for error in problem.errors]
    refused = problem.status == HTTPStatus.UNPROCESSABLE_ENTITY and wrong
    shown = PredictionProblem(
        type=f"urn:latentfarm:problem:{problem.code}",
        title="Input validation failed" if refused else HTTPStatus(problem.status).phrase,
        status=problem.status,
        detail="\n".join(f"- {one}" for one in problem.errors) or problem.detail,
        invalid_fields=wrong or None,
    )
    return shown.model_dump(exclude_none=True)


def _field(error: InvalidInput) -> InvalidField:
    allowed = f"; allowed: {error.allowed}" if error.allowed else ""
    return InvalidField(type=error.code, field=error.field, description=error.message + allowed)
