"""From OpenAI's parameters to a spec."""

from __future__ import annotations

import json
import re
from typing import TYPE_CHECKING, Any

from pydantic import ValidationError

from api.problems import refused
from latentfarm.errors import InvalidInput
from latentfarm.explain import explain
from latentfarm.spec import RenderSpec

if TYPE_CHECKING:
    from collections.abc import Mapping

    from api.openai.requests import ImagesRequest
    from latentfarm.registry import ModelEntry, Registry

_SIZE = re.compile(r"([1-9]\d{0,4})x([1-9]\d{0,4})")
_FINER = ("high", "hd", "xhigh", "max")
#: Fields of a spec that have another name here, or no meaning; what to use in their place.
_ELSEWHERE = {
    "num_images": "n",
    "width": "size",
    "height": "size",
    "output": "output_format and output_compression",
    "webhook": "stream, or POST /v1/jobs",
}


def to_spec(asked: ImagesRequest, registry: Registry, origin: Mapping[str, Any] | None = None) -> RenderSpec:
    """The spec of a request, valid on its own; whether it fits the model is asked by whoever submits it.

    Args:
        origin: fields of the spec that follow from the files that came with the request.

    Raises:
        UnknownModel: names those that there are.
        InvalidInput: a parameter that cannot be kept, or belongs to another.
        ProblemError: fields of the spec are wrong; names each.
    """
    given = to_fields(asked, registry, origin)
    try:
        # As strict as the body of a job, which this becomes.
        return RenderSpec.model_validate_json(json.dumps(given), strict=True)
    except ValidationError as error:
        raise refused(explain(error, RenderSpec)) from error


def to_fields(
    asked: ImagesRequest, registry: Registry, origin: Mapping[str, Any] | None = None
) -> dict[str, Any]:
    """The fields of the spec of a request, JSON-ready, and not checked as such yet.

    Raises:
        UnknownModel: names those that there are.
        InvalidInput: a parameter that cannot be kept, or belongs to another.
    """
    origin = origin or {}
    _check(asked, origin)
    model = model_of(asked)
    given = {
        **_quality(asked, registry.get(model)),
        **origin,
        **asked.fields,
        **_size(asked.size),
        "model": model,
        "prompt": asked.prompt,
        "num_images": asked.n or 1,
        "output": _output(asked),
    }
    if people := _people(asked):
        given["metadata"] = given.get("metadata", {}) | people
    return given


def model_of(asked: ImagesRequest) -> str:
    """The name of the model that a request is for."""
    default: str = RenderSpec.model_fields["model"].default
    return default if asked.model is None else asked.model


def shown_quality(asked: ImagesRequest) -> str:
    """What answers call the quality that was asked for."""
    if asked.quality in _FINER:
        return "high"
    return "low" if asked.quality == "low" else "medium"


def _check(asked: ImagesRequest, origin: Mapping[str, Any]) -> None:
    for field in asked.fields:
        if field in _ELSEWHERE:
            raise InvalidInput(field, "has another name on this route", _ELSEWHERE[field])
        if field in origin:
            raise InvalidInput(field, "came as a file already", "once")
    if not isinstance(asked.fields.get("metadata", {}), dict):
        raise InvalidInput("metadata", "is no object", "an object of texts")
    if asked.background == "transparent":
        raise InvalidInput("background", "the images have no alpha channel", "opaque, auto")
    if asked.stream and asked.response_format == "url":
        raise InvalidInput("response_format", "a stream holds the images themselves", "b64_json")
    if asked.partial_images and not asked.stream:
        raise InvalidInput("partial_images", "has no meaning without a stream", "with stream=true")


def _size(size: str | None) -> dict[str, int]:
    if size is None or size == "auto":
        return {}
    found = _SIZE.fullmatch(size)
    if found is None:
        raise InvalidInput("size", f"{size[:16]!r} is no size", "auto, or WIDTHxHEIGHT in pixels")
    return {"width": int(found[1]), "height": int(found[2])}


def _quality(asked: ImagesRequest, entry: ModelEntry) -> dict[str, Any]:
    """What a quality stands for; the request's own fields go over it."""
    if asked.quality in _FINER and entry.refiner is not None:
        return {"refiner": {"mode": "ensemble"}}
    if asked.quality == "low" and not {"timesteps", "sigmas"} & asked.fields.keys():
        steps = entry.steps or int(RenderSpec.model_fields["num_inference_steps"].default)
        return {"num_inference_steps": max(1, steps // 2)}
    return {}


def _output(asked: ImagesRequest) -> dict[str, Any]:
    kind = asked.output_format or "png"
    compression = asked.output_compression
    if compression is None or (kind == "png" and compression == 100):
        return {"format": kind}
    if kind == "png":
        raise InvalidInput("output_compression", "a PNG loses nothing", "100, or leave it out")
    # OpenAI counts from 0, where files differ from those of quality 1 in nothing that one would want.
    return {"format": kind, "quality": max(1, compression)}


def _people(asked: ImagesRequest) -> dict[str, str]:
    named = {"user": asked.user, "safety_identifier": asked.safety_identifier}
    return {name: value for name, value in named.items() if value}
