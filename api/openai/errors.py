"""Problems in OpenAI's words: for its routes alone, and beside ours where both kinds of client ask."""

from __future__ import annotations

from http import HTTPStatus
from typing import TYPE_CHECKING, Any

from pydantic import BaseModel, Field

from latentfarm.errors import InvalidInput

if TYPE_CHECKING:
    from api.problems import ProblemError

PREFIXES = ("/v1/images/", "/v1/files", "/v1/batches")
"""Of the paths that speak OpenAI's language only."""
SHARED = "/v1/models"
"""Of the paths whose answers serve both."""

#: What a spec calls it -> what OpenAI calls it.
_NAMES = {
    "num_images": "n",
    "width": "size",
    "height": "size",
    "output.format": "output_format",
    "output.quality": "output_compression",
    "mask_image": "mask",
    "metadata.user": "user",
    "metadata.safety_identifier": "safety_identifier",
}
#: Stock clients have a class for 400, and none of these would tell them more.
_PLAIN = (HTTPStatus.UNSUPPORTED_MEDIA_TYPE, HTTPStatus.UNPROCESSABLE_ENTITY)


class ErrorDetail(BaseModel):
    """What went wrong, as OpenAI tells it."""

    message: str = Field(description="For a person: the field, what is wrong with it, and what is allowed.")
    type: str = Field(description="`invalid_request_error`, `rate_limit_error` or `server_error`.")
    param: str | None = Field(None, description="The parameter that is wrong, in OpenAI's name for it.")
    code: str | None = Field(
        None, description="The last part of a problem's type, such as `invalid`; `model_not_found`."
    )


class ErrorView(BaseModel):
    """An answer that is no success, as OpenAI gives it."""

    error: ErrorDetail = Field(description="What went wrong.")


def speaks_openai(path: str) -> bool:
    """Whether whoever asks for a path expects OpenAI's errors and no others."""
    return path.startswith(PREFIXES)


def status_of(problem: ProblemError) -> int:
    """The status that makes a stock client raise the right class."""
    if problem.code == "unknown_model":
        return HTTPStatus.NOT_FOUND
    return HTTPStatus.BAD_REQUEST if problem.status in _PLAIN else problem.status


def error_of(problem: ProblemError) -> dict[str, Any]:
    """The value of `error`."""
    status = status_of(problem)
    told = [InvalidInput(_name(error.field), error.message, error.allowed) for error in problem.errors]
    return ErrorDetail(
        message="; ".join(map(str, told)) or problem.detail,
        type=_kind(status),
        param=told[0].field if told else None,
        code="model_not_found" if problem.code == "unknown_model" else problem.code,
    ).model_dump()


def _name(field: str) -> str:
    return _NAMES.get(field, field)


def _kind(status: int) -> str:
    if status == HTTPStatus.TOO_MANY_REQUESTS:
        return "rate_limit_error"
    return "server_error" if status >= HTTPStatus.INTERNAL_SERVER_ERROR else "invalid_request_error"
