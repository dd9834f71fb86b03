"""What the OpenAPI document says of these routes: bodies that are read by hand, answers, and errors."""

from http import HTTPStatus
from typing import Any

from pydantic import BaseModel, ConfigDict, Field

from api.openai.batch_request import BatchRequest
from api.openai.errors import ErrorView
from api.openai.requests import EditRequest, GenerationRequest

_REFERENCE = "#/components/schemas/{model}"


class PictureView(BaseModel):
    """One image of an answer."""

    model_config = ConfigDict(extra="forbid")

    b64_json: str | None = Field(None, description="The file in base64.")
    url: str | None = Field(None, description="A link to the file, good for some minutes.")
    seed: int = Field(description="With the request and this `seed` the image can be made again alone.")


class ImagesView(BaseModel):
    """The images of a request."""

    model_config = ConfigDict(extra="forbid")

    created: int = Field(description="Seconds since 1970 at which the job was accepted.")
    background: str = Field(description="Always `opaque`.")
    output_format: str = Field(description="Format of the files.")
    quality: str = Field(description="What the quality asked for comes to: `low`, `medium` or `high`.")
    size: str = Field(description="`WIDTHxHEIGHT` in pixels.")
    job: str = Field(description="Id of the job behind it, for `GET /v1/jobs/{job_id}`.")
    data: list[PictureView] = Field(description="The images, in the order of their seeds.")


SCHEMAS = (GenerationRequest, EditRequest, ImagesView, BatchRequest, ErrorView)


def _schema(model: type[BaseModel]) -> dict[str, Any]:
    return {"$ref": _REFERENCE.format(model=model.__name__)}


def _form() -> dict[str, Any]:
    """The fields of an edit and its two files."""
    binary = {"type": "string", "format": "binary"}
    files = {
        "image": {**binary, "description": "PNG, JPEG or WebP, at most 20 MiB and 16 megapixels."},
        "mask": {**binary, "description": "A picture of the same size, fully transparent where to paint."},
    }
    more = {"type": "object", "required": ["image"], "properties": files}
    return {"schema": {"allOf": [_schema(EditRequest), more]}}


GENERATION_BODY: dict[str, Any] = {
    "requestBody": {"required": True, "content": {"application/json": {"schema": _schema(GenerationRequest)}}}
}
EDIT_BODY: dict[str, Any] = {"requestBody": {"required": True, "content": {"multipart/form-data": _form()}}}


def _file_form() -> dict[str, Any]:
    """The fields of a file that is sent."""
    properties = {
        "file": {"type": "string", "format": "binary", "description": "JSONL: a request on each line."},
        "purpose": {"type": "string", "enum": ["batch"], "description": "What it is for."},
        "expires_after[anchor]": {
            "type": "string",
            "enum": ["created_at"],
            "description": "When its time begins.",
        },
        "expires_after[seconds]": {
            "type": "integer",
            "minimum": 3_600,
            "maximum": 2_592_000,
            "description": "How long it is kept; 30 days when absent.",
        },
    }
    return {"schema": {"type": "object", "required": ["file", "purpose"], "properties": properties}}


FILE_BODY: dict[str, Any] = {
    "requestBody": {"required": True, "content": {"multipart/form-data": _file_form()}}
}
BATCH_BODY: dict[str, Any] = {
    "requestBody": {"required": True, "content": {"application/json": {"schema": _schema(BatchRequest)}}}
}
_ALWAYS = (
    HTTPStatus.BAD_REQUEST,
    HTTPStatus.UNAUTHORIZED,
    HTTPStatus.FORBIDDEN,
    HTTPStatus.INTERNAL_SERVER_ERROR,
    HTTPStatus.SERVICE_UNAVAILABLE,
    HTTPStatus.TOO_MANY_REQUESTS,
)


def failures(*further: HTTPStatus) -> dict[int | str, dict[str, Any]]:
    """Answers that are no success: those that any of these routes can give, and `further` ones."""
    return {
        int(status): {
            "description": status.phrase,
            "content": {"application/json": {"schema": _schema(ErrorView)}},
        }
        for status in sorted({*_ALWAYS, *further})
    }


RESPONSES: dict[int | str, dict[str, Any]] = {
    200: {
        "description": "The images; with `stream` an event for each.",
        "content": {
            "application/json": {"schema": _schema(ImagesView)},
            "text/event-stream": {},
        },
    },
    **failures(
        HTTPStatus.NOT_FOUND,
        HTTPStatus.CONFLICT,
        HTTPStatus.GONE,
        HTTPStatus.REQUEST_ENTITY_TOO_LARGE,
        HTTPStatus.TOO_MANY_REQUESTS,
        HTTPStatus.GATEWAY_TIMEOUT,
    ),
}
