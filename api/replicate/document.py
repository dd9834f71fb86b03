"""What the OpenAPI document says of these routes: bodies that are read by hand, and problems."""

from http import HTTPStatus
from typing import Any

from api.problems import MEDIA_TYPE
from api.replicate.errors import PredictionProblem
from api.replicate.requests import PredictionInput, PredictionRequest

SCHEMAS = (PredictionRequest, PredictionInput, PredictionProblem)
_REFERENCE = "#/components/schemas/{model}"

REFUSED = (
    HTTPStatus.BAD_REQUEST,
    HTTPStatus.CONFLICT,
    HTTPStatus.REQUEST_ENTITY_TOO_LARGE,
    HTTPStatus.UNSUPPORTED_MEDIA_TYPE,
    HTTPStatus.UNPROCESSABLE_ENTITY,
    HTTPStatus.TOO_MANY_REQUESTS,
)
"""How a body can be refused."""
PREDICTION_BODY: dict[str, Any] = {
    "requestBody": {
        "required": True,
        "content": {"application/json": {"schema": {"$ref": _REFERENCE.format(model="PredictionRequest")}}},
    }
}
FILE_BODY: dict[str, Any] = {
    "requestBody": {
        "required": True,
        "content": {
            "multipart/form-data": {
                "schema": {
                    "type": "object",
                    "required": ["content"],
                    "properties": {
                        "content": {
                            "type": "string",
                            "format": "binary",
                            "description": "PNG, JPEG or WebP, at most 20 MiB and 16 megapixels.",
                        }
                    },
                }
            }
        },
    }
}


def problems(*statuses: HTTPStatus, keyed: bool = True) -> dict[int | str, dict[str, Any]]:
    """For `responses` of a route: these statuses, 503, and 401, 403 and 429 where it needs a key, are problems."""
    keys = (HTTPStatus.UNAUTHORIZED, HTTPStatus.FORBIDDEN, HTTPStatus.TOO_MANY_REQUESTS) if keyed else ()
    schema = {"$ref": _REFERENCE.format(model="PredictionProblem")}
    return {
        int(status): {"description": status.phrase, "content": {MEDIA_TYPE: {"schema": schema}}}
        for status in (*keys, *statuses, HTTPStatus.SERVICE_UNAVAILABLE)
    }
