"""What the OpenAPI document says of these routes."""

from http import HTTPStatus
from typing import Any

from api.huggingface.errors import InferenceError
from api.huggingface.requests import InferenceParameters, InferenceRequest

SCHEMAS = (InferenceRequest, InferenceParameters, InferenceError)
_REFERENCE = "#/components/schemas/{model}"


def _schema(name: str) -> dict[str, Any]:
    return {"application/json": {"schema": {"$ref": _REFERENCE.format(model=name)}}}


INFERENCE_BODY: dict[str, Any] = {"requestBody": {"required": True, "content": _schema("InferenceRequest")}}
_FAILURES = (
    HTTPStatus.BAD_REQUEST,
    HTTPStatus.UNAUTHORIZED,
    HTTPStatus.FORBIDDEN,
    HTTPStatus.NOT_FOUND,
    HTTPStatus.CONFLICT,
    HTTPStatus.GONE,
    HTTPStatus.REQUEST_ENTITY_TOO_LARGE,
    HTTPStatus.UNSUPPORTED_MEDIA_TYPE,
    HTTPStatus.UNPROCESSABLE_ENTITY,
    HTTPStatus.TOO_MANY_REQUESTS,
    HTTPStatus.INTERNAL_SERVER_ERROR,
    HTTPStatus.SERVICE_UNAVAILABLE,
    HTTPStatus.GATEWAY_TIMEOUT,
)
RESPONSES: dict[int | str, dict[str, Any]] = {
    200: {"description": "The image.", "content": {"image/*": {}}},
    **{
        int(status): {"description": status.phrase, "content": _schema("InferenceError")}
        for status in _FAILURES
    },
}
