"""From Replicate's inputs to a spec."""

from __future__ import annotations

import json
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from pydantic import ValidationError

from api.problems import refused
from api.replicate.requests import PredictionInput
from latentfarm.errors import InvalidInput, NotSupported
from latentfarm.explain import explain
from latentfarm.foreign_samplers import fields_of
from latentfarm.predictions import NAMES
from latentfarm.spec import RenderSpec

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from latentfarm.registry import ModelEntry

STRENGTH, GUIDANCE = 0.8, 7.5
"""What Replicate's SDXL takes when nobody says."""
#: Fields of a spec that have another name here, or another place.
_ELSEWHERE = {
    **NAMES,
    "output": "output_format and output_quality",
    "webhook": "webhook of the prediction, beside input",
    "model": "model or version of the prediction, beside input",
}
_FORMATS = {"jpg": "jpeg"}


@contextmanager
def naming_inputs() -> Iterator[None]:
    """What is wrong with a spec is told of the inputs that it was made of.

    Raises:
        InvalidInput: of the same class, with the name that the client knows.
    """
    try:
        yield
    except InvalidInput as error:
        first = error.field.split(".", maxsplit=1)[0]
        if first == "webhook":
            raise type(error)("webhook", error.message, error.allowed) from error
        if first not in RenderSpec.model_fields or first == "model":
            raise
        raise type(error)(_named(error.field), error.message, error.allowed) from error


def to_spec(given: Mapping[str, Any], entry: ModelEntry) -> RenderSpec:
    """The spec of a prediction's `input`, valid on its own; whether it fits the model is asked by whoever submits it.

    Raises:
        ProblemError: inputs are wrong; names each.
        InvalidInput: an input that cannot be kept, or has another name.
    """
    asked = _read(given)
    _check(asked)
    spec = {
        **_defaults(asked, entry),
        **asked.fields,
        **_sampler(asked),
        **_refiner(asked),
        **_mask(asked),
        **_output(asked),
        "model": entry.name,
        "prompt": asked.prompt,
        "num_images": asked.num_outputs,
    }
    try:
        # As strict as the body of a job, which this becomes.
        return RenderSpec.model_validate_json(json.dumps(spec), strict=True)
    except ValidationError as error:
        raise refused([_renamed(one) for one in explain(error, RenderSpec)]) from error


def _read(given: Mapping[str, Any]) -> PredictionInput:
    # As there, an input that is null is one that was not given.
    told = {name: value for name, value in given.items() if value is not None}
    try:
        return PredictionInput.model_validate_json(json.dumps(told), strict=True)
    except ValidationError as error:
        raise refused([_renamed(one) for one in explain(error, PredictionInput)]) from error


def _check(asked: PredictionInput) -> None:
    for field in asked.fields:
        if field in _ELSEWHERE:
            raise InvalidInput(f"input.{field}", "has another name on this route", _ELSEWHERE[field])
    if asked.apply_watermark:
        raise NotSupported("input.apply_watermark", "no watermark is made", "false, or leave it out")
    if asked.disable_safety_checker is False:
        raise NotSupported(
            "input.disable_safety_checker",
            "nothing here looks at what is asked for",
            "true, or leave it out",
        )
    if asked.refine is not None and "refiner" in asked.fields:
        raise InvalidInput("input.refiner", "came as `refine` already", "once")
    for field in _sampler(asked).keys() & asked.fields.keys():
        raise InvalidInput(f"input.{field}", f"{asked.scheduler} says it already", "once")


def _defaults(asked: PredictionInput, entry: ModelEntry) -> dict[str, Any]:
    """What the model there takes when nobody says, where the entry here says nothing else."""
    found = {} if entry.guidance_scale is not None else {"guidance_scale": GUIDANCE}
    refiner = asked.fields.get("refiner")
    without_base = isinstance(refiner, dict) and refiner.get("mode") == "only"
    if "image" in asked.fields and not without_base:
        found["strength"] = STRENGTH if asked.prompt_strength is None else asked.prompt_strength
    return found


def _sampler(asked: PredictionInput) -> dict[str, str]:
    return {} if asked.scheduler is None else fields_of(asked.scheduler, "input.scheduler")


def _refiner(asked: PredictionInput) -> dict[str, Any]:
    """`high_noise_frac` and `refine_steps` have no meaning in the other modes, there as here."""
    if asked.refine == "expert_ensemble_refiner":
        frac = {} if asked.high_noise_frac is None else {"high_noise_frac": asked.high_noise_frac}
        return {"refiner": {"mode": "ensemble", **frac}}
    if asked.refine == "base_image_refiner":
        steps = {} if asked.refine_steps is None else {"num_inference_steps": asked.refine_steps}
        return {"refiner": {"mode": "image", **steps}}
    return {}


def _mask(asked: PredictionInput) -> dict[str, str]:
    return {} if asked.mask is None else {"mask_image": asked.mask}


def _output(asked: PredictionInput) -> dict[str, Any]:
    kind = _FORMATS.get(asked.output_format or "png", asked.output_format or "png")
    quality = asked.output_quality
    if quality is None or (kind == "png" and quality == 100):
        return {"output": {"format": kind}}
    if kind == "png":
        raise InvalidInput("input.output_quality", "a PNG loses nothing", "100, or leave it out")
    return {"output": {"format": kind, "quality": max(1, quality)}}


def _renamed(error: InvalidInput) -> InvalidInput:
    return type(error)(_named(error.field), error.message, error.allowed)


def _named(field: str) -> str:
    first, dot, rest = field.partition(".")
    whole = {"output.format": "output_format", "output.quality": "output_quality"}
    return "input." + whole.get(field, f"{NAMES.get(first, first)}{dot}{rest}")
