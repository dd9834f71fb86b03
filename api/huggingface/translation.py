"""From the parameters of `InferenceClient` to a spec."""

from __future__ import annotations

import json
import re
from typing import TYPE_CHECKING, Any

from pydantic import ValidationError

from api.huggingface.receiving import Encoded
from api.huggingface.requests import InferenceParameters
from api.problems import refused
from latentfarm.errors import InvalidInput
from latentfarm.explain import explain
from latentfarm.foreign_samplers import fields_of
from latentfarm.references import content
from latentfarm.spec import MAX_PROMPT_CHARS, RenderSpec

if TYPE_CHECKING:
    from collections.abc import Mapping

    from api.huggingface.requests import InferenceRequest

#: How a PNG, a JPEG and a WebP begin in base64.
_FILE = re.compile(r"(?:iVBORw0KGgo|/9j/|UklGR)[A-Za-z0-9+/]{40}")
#: Fields of a spec that have another name or place here, or none; what to use instead.
_ELSEWHERE = {
    "model": "the URL",
    "sampler": "scheduler",
    "num_images": "one request for each image, or POST /v1/jobs",
    "webhook": "POST /v1/jobs",
}


def to_spec(
    asked: InferenceRequest, model: str, picture: Encoded | None = None
) -> tuple[RenderSpec, Mapping[bytes, bytes]]:
    """The spec of a request, valid on its own, and the picture that came with it, by its SHA-256.

    Args:
        picture: what the inputs are, where they are too large to be a prompt.

    Raises:
        ProblemError: parameters are wrong; names each.
        InvalidInput: a parameter that cannot be kept, or has another name.
    """
    told = _read(asked.parameters)
    if told.prompt is not None and picture is None:
        picture = _picture(asked.inputs)
    named: dict[str, Any] = {"model": model, "prompt": asked.inputs}
    spec = {**told.fields, **_size(told), **_sampler(told), **named}
    if picture is not None:
        spec |= {"image": content(picture.sha256), "prompt": told.prompt}
    if told.prompt is None:
        _check_prompt(asked.inputs, picture)
    try:
        # As strict as the body of a job, which this becomes.
        return RenderSpec.model_validate_json(json.dumps(spec), strict=True), picture or {}
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


def _picture(text: str) -> Encoded:
    if not text.isascii():
        raise InvalidInput("inputs", "not base64", "a PNG, JPEG or WebP in base64")
    return Encoded(memoryview(text.encode()))


def _check_prompt(text: str, picture: Encoded | None) -> None:
    """A picture that comes without a prompt must not be taken for one, and painted as the words that it is not."""
    if picture is not None or _FILE.match(text):
        raise InvalidInput("prompt", "required, but missing", "what to paint, beside a picture")
    if len(text) > MAX_PROMPT_CHARS:
        allowed = f"text of at most {MAX_PROMPT_CHARS} characters"
        raise InvalidInput("inputs", "the prompt is too long", allowed)
