"""`RefineRequest`: what a user asks of a job that has run, and the spec that comes of it.

What the request leaves out stays as it was in the job.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any, Literal

from pydantic import Field

from latentfarm.errors import InvalidInput
from latentfarm.mode_rules import fit_pictures
from latentfarm.references import content
from latentfarm.spec import (
    Days,
    MetadataKey,
    MetadataValue,
    OutputSpec,
    Prompt,
    RefinerSpec,
    StrictModel,
)
from latentfarm.states import Lane  # noqa: TC001 - pydantic needs the type at run time
from latentfarm.validation import complete

if TYPE_CHECKING:
    from latentfarm.mode_rules import PixelSize
    from latentfarm.registry import ModelEntry
    from latentfarm.spec import RenderSpec

LATENTS, IMAGE = "latents", "image"
_PROMPTS = ("prompt", "negative_prompt")
_JOB = ("reproducible", "lane", "priority", "keep_latents", "retain_days")
_OF_BASE = (
    "prompt_2",
    "negative_prompt_2",
    "mask_image",
    "strength",
    "padding_mask_crop",
    "width",
    "height",
)
_ANY_PICTURE = content(bytes(32))


class RefineRequest(StrictModel):
    """Refines images of a job again, without its base stage. Each keeps its seed."""

    source: Literal["latents", "image"] | None = Field(
        None,
        description="`latents`: what the base left, kept for `keep_latents`; `image`: the finished image, by"
        " image-to-image with the refiner. When absent, `latents` of a job with base and refiner, else `image`.",
    )
    indices: tuple[Annotated[int, Field(ge=0, lt=10_000)], ...] | None = Field(
        None, min_length=1, max_length=10_000, description="Which images of the job, in which order; all."
    )
    refiner: RefinerSpec = Field(
        RefinerSpec(),
        description="The refiner's settings; those left out stay as in the job. Latents keep to the job's mode"
        " and split; for images the mode may be left out.",
    )
    prompt: Prompt | None = Field(None, description="With source `image`: in place of the job's.")
    negative_prompt: Prompt | None = Field(None, description="With source `image`: in place of the job's.")
    output: OutputSpec | None = Field(None, description="The file that the image becomes; as in the job.")
    reproducible: bool | None = Field(
        None, description="As in the job; latents of a job that was not cannot make an image that is."
    )
    lane: Lane | None = Field(None, description="Where the new job waits; as the job did.")
    priority: int | None = Field(None, ge=-10, le=10, description="Within the lane; as the job's.")
    keep_latents: int | None = Field(
        None,
        ge=0,
        le=604_800,
        description="With source `latents`: seconds that they are kept after the end of the new job; as the job's.",
    )
    retain_days: Days | None = Field(
        None, description="Days that the new images are kept after the end of the new job; as the job's."
    )
    metadata: dict[MetadataKey, MetadataValue] = Field(
        default_factory=dict,
        max_length=16,
        description="The user's own strings; those of the job stay there.",
    )


def source_of(spec: RenderSpec, request: RefineRequest) -> str:
    """`latents` or `image`.

    Raises:
        InvalidInput: latents of a job that leaves none.
    """
    leaves_latents = spec.refiner is not None and spec.refiner.mode != "only"
    if request.source == LATENTS and not leaves_latents:
        without = "refiner" if spec.refiner is None else "base stage"
        raise InvalidInput("source", f"a job without {without} leaves no latents", IMAGE)
    return request.source or (LATENTS if leaves_latents else IMAGE)


def refined_spec(
    spec: RenderSpec, request: RefineRequest, entry: ModelEntry, size: PixelSize | None
) -> RenderSpec:
    """The spec of the new job, complete.

    Args:
        spec: of the job, complete.
        entry: of its model.
        size: of its images; None: refined from latents. Then what the spec says as a whole, base
            included, is how the new images are made. From images `image` is left to the caller.

    Raises:
        InvalidInput: what the latents, the model or the sampler cannot do; names the field.
    """
    if entry.refiner is None:
        raise InvalidInput("refiner", f"model {entry.name} has no refiner", "a job of a model with one")
    common: dict[str, Any] = {name: value for name in _JOB if (value := getattr(request, name)) is not None}
    common |= {"metadata": request.metadata, "output": _output(spec.output, request.output)}
    if size is None:
        _check_latents(spec, request)
        changed = {"refiner": _merged(spec.refiner, request.refiner)}
        return complete(spec.model_copy(update=common | changed), entry)
    full = complete(spec.model_copy(update=common | _from_image(spec, request, entry)), entry)
    try:
        return fit_pictures(full, entry, size)
    except InvalidInput as error:
        raise InvalidInput("source", error.message, "images of a size that the model takes") from error


def _from_image(spec: RenderSpec, request: RefineRequest, entry: ModelEntry) -> dict[str, Any]:
    if _said(request.refiner).get("mode") == "ensemble":
        raise InvalidInput("refiner.mode", "a finished image has no schedule to share", "only")
    told = {name: value for name in _PROMPTS if (value := getattr(request, name)) is not None}
    loras = tuple(
        use for use in spec.loras if use.name in entry.loras and entry.loras[use.name].stage == "refine"
    )
    # Second prompts are the base's alone. A mask has done its work: the whole picture is refined.
    without_base = dict.fromkeys(_OF_BASE)
    before = (spec.refiner or RefinerSpec()).model_copy(update={"high_noise_frac": None})
    refiner = _merged(before, request.refiner).model_copy(update={"mode": "only"})
    return {**told, **without_base, "loras": loras, "image": _ANY_PICTURE, "refiner": refiner}


def _output(before: OutputSpec, given: OutputSpec | None) -> OutputSpec:
    """Another format begins anew: a PNG has no use for the quality of a JPEG."""
    if given is None:
        return before
    if "format" in given.model_fields_set and given.format != before.format:
        return given
    return before.model_copy(update=_said(given))


def _merged(before: RefinerSpec | None, given: RefinerSpec) -> RefinerSpec:
    """The job's refiner with what the request says of it."""
    return (before or RefinerSpec()).model_copy(update=_said(given))


def _said(given: RefinerSpec | OutputSpec) -> dict[str, Any]:
    """What stands in a request; null says as little as nothing does."""
    values = ((name, getattr(given, name)) for name in given.model_fields_set)
    return {name: value for name, value in values if value is not None}


def _check_latents(spec: RenderSpec, request: RefineRequest) -> None:
    """What latents have been made with cannot be changed any more."""
    for name in _PROMPTS:
        if getattr(request, name) is not None:
            raise InvalidInput(name, "the base has read the job's", "leave it out, or source `image`")
    if request.reproducible and not spec.reproducible:
        raise InvalidInput("reproducible", "the latents were not made so", "false, or source `image`")
    refiner, said = spec.refiner, _said(request.refiner)
    if refiner is None:
        return
    if said.get("mode", refiner.mode) != refiner.mode:
        raise InvalidInput(
            "refiner.mode", f"the latents are for mode `{refiner.mode}`", f"{refiner.mode}, or source `image`"
        )
    if refiner.mode != "ensemble":
        return
    if "strength" in said:
        raise InvalidInput(
            "refiner.strength",
            "latents of an ensemble are finished as they are",
            "leave it out, or source `image`",
        )
    if said.get("high_noise_frac", refiner.high_noise_frac) != refiner.high_noise_frac:
        raise InvalidInput(
            "refiner.high_noise_frac",
            f"the base has left the schedule at {refiner.high_noise_frac}",
            f"{refiner.high_noise_frac}, or source `image`",
        )
