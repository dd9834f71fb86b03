"""From the parameters of `InferenceClient` to a spec."""

from __future__ import annotations

import base64
import binascii
import hashlib
import json
from typing import TYPE_CHECKING, Any

from pydantic import ValidationError

from api.huggingface.requests import InferenceParameters
from api.problems import refused
from latentfarm.errors import InvalidInput
from latentfarm.explain import explain
from latentfarm.foreign_samplers import fields_of
from latentfarm.references import content
from latentfarm.spec import MAX_PROMPT_CHARS, RenderSpec

if TYPE_CHECKING:
    from api.huggingface.requests import InferenceRequest

#: Fields of a spec that have another name or place here, or none; what to use instead.
_ELSEWHERE = {
    "model": "the URL",
    "sampler": "scheduler",
    "num_images": "one request for each image, or POST /v1/jobs",
    "webhook": "POST /v1/jobs",
}


def to_spec(asked: InferenceRequest, model: str) -> tuple[RenderSpec, dict[bytes, bytes]]:
    """The spec of a request, valid on its own, and the picture that came with it, by its SHA-256.

    Raises:
        ProblemError: parameters are wrong; names each.
        InvalidInput: a parameter that cannot be kept, or has another name.
    """
    told = _read(asked.parameters)
    brought: dict[bytes, bytes] = {}
    spec = {**told.fields, **_size(told), **_sampler(told), "model": model, "prompt": asked.inputs}
    if told.prompt is not None:
        data = _picture(asked.inputs)
        sha256 = hashlib.sha256(data).digest()
        brought[sha256] = data
        spec |= {"image": content(sha256), "prompt": told.prompt}
    elif len(asked.inputs) > MAX_PROMPT_CHARS:
        raise InvalidInput(
            "inputs", "the prompt is too long", f"text of at most {MAX_PROMPT_CHARS} characters"
        )
    try:
        # As strict as the body of a job, which this becomes.
        return RenderSpec.model_validate_json(json.dumps(spec), strict=True), brought
    except ValidationError as error:
        raise refused(explain(error, RenderSpec)) from error


def _read(parameters: dict[str, Any]) -> InferenceParameters:
    given = {name: value for name, value in parameters.items() if value is not None}
    try:
        told = InferenceParameters.model_validate_json(json.dumps(given), strict=True)
    except ValidationError as error:
        raise refused(explain(error, InferenceParameters)) from error
    for field in told.fields:
        if field in _ELSEWHERE:
            raise InvalidInput(field, "has no place here", _ELSEWHERE[field])
        if field == "image" and told.prompt is not None:
            raise InvalidInput(field, "came as `inputs` already", "once")
    for field in (_size(told) | _sampler(told)).keys() & told.fields.keys():
        raise InvalidInput(field, "is said twice", "once")
    return told


def _size(told: InferenceParameters) -> dict[str, int]:
    return {} if told.target_size is None else told.target_size.model_dump()


def _sampler(told: InferenceParameters) -> dict[str, str]:
    return {} if told.scheduler is None else fields_of(told.scheduler, "scheduler")


def _picture(text: str) -> bytes:
    try:
        return base64.b64decode(text, validate=True)
    except (binascii.Error, ValueError) as error:
        raise InvalidInput("inputs", f"not base64: {error}", "a PNG, JPEG or WebP in base64") from error
