"""`RenderSpec`: what a user asks for. Diffusers' names and meanings wherever diffusers has the parameter.

This module knows what a value may be on its own; `validation` knows what fits a model.
"""

from __future__ import annotations

import hashlib
import json
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, StringConstraints, WithJsonSchema

from latentfarm.adapters import MAX_ADAPTERS, AdapterName, LoraUse
from latentfarm.references import Picture  # noqa: TC001 - pydantic needs the type at run time
from latentfarm.samplers import SAMPLERS, SIGMA_SCHEDULES, SPACINGS
from latentfarm.states import Lane
from latentfarm.webhooks.wish import JobWebhook  # noqa: TC001 - the same

MAX_PROMPT_CHARS = 8_192
MAX_STEPS = 200
MAX_RETAIN_DAYS = 3_650
SEED_RANGE = 2**53
"""Seeds stay below 2^53, so that every JSON reader keeps them exact."""

Prompt = Annotated[str, StringConstraints(max_length=MAX_PROMPT_CHARS)]
Size = tuple[Annotated[int, Field(ge=0, le=16_384)], Annotated[int, Field(ge=0, le=16_384)]]
Steps = Annotated[int, Field(ge=1, le=MAX_STEPS)]
Guidance = Annotated[float, Field(ge=0, le=100, allow_inf_nan=False)]
Score = Annotated[float, Field(ge=0, le=100, allow_inf_nan=False)]
Sampler = Annotated[
    str, StringConstraints(max_length=64), WithJsonSchema({"type": "string", "enum": list(SAMPLERS)})
]
SigmaSchedule = Annotated[
    str, StringConstraints(max_length=64), WithJsonSchema({"type": "string", "enum": list(SIGMA_SCHEDULES)})
]
Spacing = Annotated[
    str, StringConstraints(max_length=64), WithJsonSchema({"type": "string", "enum": list(SPACINGS)})
]
"""Names of these three are told, and checked where it is known what fits model and sampler."""
Days = Annotated[float, Field(gt=0, le=MAX_RETAIN_DAYS, allow_inf_nan=False)]
MetadataKey = Annotated[str, StringConstraints(min_length=1, max_length=64)]
MetadataValue = Annotated[str, StringConstraints(max_length=512)]


class StrictModel(BaseModel):
    """Immutable, and takes no field that it does not know."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)


class RefinerSpec(StrictModel):
    """How the refiner takes over from the base."""

    mode: Literal["ensemble", "image", "only"] = Field(
        "ensemble",
        description="`ensemble`: of expert denoisers, the refiner takes the low-noise end of one schedule;"
        " `image`: image-to-image from the base's finished latents, which are not decoded in between;"
        " `only`: image-to-image from `image`, without a base stage.",
    )
    high_noise_frac: float | None = Field(
        None,
        gt=0,
        lt=1,
        description="Mode `ensemble`: share of the schedule that the base denoises, `denoising_end` of the"
        " base and `denoising_start` of the refiner; 0.8 when absent.",
    )
    strength: float | None = Field(
        None,
        ge=0,
        le=1,
        description="Modes `image` and `only`: share of the refiner's schedule that the base's latents, or"
        " `image`, go through; 0.3 when absent.",
    )
    num_inference_steps: Steps | None = Field(
        None,
        description="Steps of the refiner's schedule; the base's when absent, and always in mode `ensemble`.",
    )
    guidance_scale: Guidance | None = Field(
        None, description="Guidance of the refiner; the base's when absent."
    )
    aesthetic_score: Score = Field(6.0, description="Aesthetic score that the refiner is told.")
    negative_aesthetic_score: Score = Field(2.5, description="Aesthetic score of the negative branch.")

    @property
    def split(self) -> float | None:
        """Share of the schedule that the base denoises; None where the two stages share none."""
        if self.mode != "ensemble":
            return None
        return 0.8 if self.high_noise_frac is None else self.high_noise_frac

    @property
    def reworked(self) -> float:
        """Strength of the modes `image` and `only`."""
        return 0.3 if self.strength is None else self.strength


class OutputSpec(StrictModel):
    """The file that the image becomes."""

    format: Literal["png", "webp", "jpeg"] = Field("png", description="Format of the file.")
    quality: int | None = Field(
        None, ge=1, le=100, description="Quality of webp and jpeg; 90 and 95 when absent."
    )


class RenderSpec(StrictModel):
    """One request for images. Immutable; sizes are `[height, width]` as in diffusers."""

    model: str = Field("tiny", min_length=1, max_length=64, description="Name of a model in the registry.")
    prompt: Prompt = Field(
        description="What to paint; text for the first encoder, and the second without `prompt_2`."
    )
    prompt_2: Prompt | None = Field(None, description="Text for the second encoder; `prompt` when absent.")
    negative_prompt: Prompt | None = Field(
        None, description="What to avoid; when absent what the model takes for an empty text."
    )
    negative_prompt_2: Prompt | None = Field(
        None, description="What to avoid, for the second encoder; `negative_prompt` when absent."
    )
    prompt_weighting: Literal["compel"] | None = Field(
        None,
        description="What reads weights in all four prompts: `compel` takes `(words)1.3`, `word++`, `word--`,"
        " `.and()` and `.blend()` as the library of that name has them, and prompts of more than 77 tokens"
        " whole; when absent every character is text.",
    )
    width: int | None = Field(
        None,
        ge=8,
        le=16_384,
        multiple_of=8,
        description="Pixels; the model's size when absent, for image-to-image the image's, rounded down.",
    )
    height: int | None = Field(
        None,
        ge=8,
        le=16_384,
        multiple_of=8,
        description="Pixels; the model's size when absent, for image-to-image the image's, rounded down.",
    )
    num_images: int = Field(
        1, ge=1, le=10_000, description="How many images; image i has the seed `(seed + i) mod 2^53`."
    )
    seed: int | None = Field(
        None, ge=0, lt=SEED_RANGE, description="Seed of the first image; drawn when absent, always reported."
    )
    num_inference_steps: Steps = Field(50, description="Denoising steps of the whole schedule.")
    guidance_scale: Guidance | None = Field(
        None,
        description="Classifier-free guidance, 1 and below: none; 5.0 when absent, for inpainting 7.5.",
    )
    guidance_rescale: float = Field(
        0.0, ge=0, le=1, description="Share by which guidance is scaled back to the contrast without it."
    )
    eta: float = Field(
        0.0, ge=0, le=1, description="Noise that DDIM adds back; other samplers do not take it."
    )
    clip_skip: int | None = Field(
        None,
        ge=0,
        le=30,
        description="Layers of the text encoders to leave out at the end; none when absent.",
    )
    timesteps: tuple[Annotated[int, Field(ge=0, lt=1000)], ...] | None = Field(
        None,
        max_length=MAX_STEPS,
        description="A schedule of one's own, falling; `num_inference_steps` decides when absent.",
    )
    sigmas: tuple[Annotated[float, Field(ge=0, le=1000)], ...] | None = Field(
        None,
        max_length=MAX_STEPS,
        description="Noise levels of one's own, falling; `num_inference_steps` decides when absent.",
    )
    sampler: Sampler | None = Field(
        None, description="What diffusers calls a scheduler; the model's when absent."
    )
    sigma_schedule: SigmaSchedule | None = Field(
        None, description="How the noise levels are spread; as the model's config says when absent."
    )
    timestep_spacing: Spacing | None = Field(
        None, description="How the timesteps are spread; as the model's config says when absent."
    )
    rescale_betas_zero_snr: bool | None = Field(
        None,
        description="Noise up to a signal of zero, for models trained so; as their config says when absent.",
    )
    original_size: Size | None = Field(
        None, description="Size before cropping that the model is told; height and width when absent."
    )
    target_size: Size | None = Field(
        None, description="Size wanted that the model is told; height and width when absent."
    )
    crops_coords_top_left: Size | None = Field(
        None, description="Where the crop began, as the model is told; `[0, 0]` when absent."
    )
    negative_original_size: Size | None = Field(
        None,
        description="`original_size` of the negative branch, heeded with `negative_target_size`; the other"
        " branch's when absent.",
    )
    negative_target_size: Size | None = Field(
        None,
        description="`target_size` of the negative branch, heeded with `negative_original_size`; the other"
        " branch's when absent.",
    )
    negative_crops_coords_top_left: Size | None = Field(
        None,
        description="`crops_coords_top_left` of the negative branch, heeded with both of its sizes; `[0, 0]`"
        " when absent.",
    )
    image: Picture | None = Field(
        None,
        description="PNG, JPEG or WebP to start from, 20 MiB and 16 megapixels at most: the id of an upload, a"
        " data URL of at most 700 KiB, an https URL, or `sha256:...` of a picture that the farm has; pure"
        " noise when absent.",
    )
    mask_image: Picture | None = Field(
        None,
        description="Inpainting: white where to paint, given as `image` and of its size; all is painted when absent.",
    )
    strength: float | None = Field(
        None,
        ge=0,
        le=1,
        description="Share of the schedule that `image` goes through, 1: all of it; 0.3 when absent, for"
        " inpainting 0.9999.",
    )
    padding_mask_crop: int | None = Field(
        None,
        ge=0,
        le=16_384,
        description="Inpainting: paints a crop around the mask, with this many pixels around it, at the full"
        " size, and puts it back into `image`, whose size the result has; the whole when absent.",
    )
    refiner: RefinerSpec | None = Field(
        None, description="How the refiner takes over; the base works alone when absent."
    )
    loras: tuple[LoraUse, ...] = Field(
        (), max_length=MAX_ADAPTERS, description="LoRAs of the model's entry to use, each with its weight."
    )
    embeddings: tuple[AdapterName, ...] = Field(
        (),
        max_length=MAX_ADAPTERS,
        description="Textual inversions of the model's entry; prompts write their tokens.",
    )
    output: OutputSpec = Field(
        OutputSpec(), description="Format of the file that the image becomes, and its quality."
    )
    reproducible: bool = Field(
        default=False,
        description="Whether the image is bit-equal on the same device, library versions and thread count.",
    )
    lane: Lane = Field(Lane.INTERACTIVE, description="Where the job waits.")
    priority: int = Field(0, ge=-10, le=10, description="Rank within the lane; higher goes first.")
    keep_latents: int = Field(
        3_600, ge=0, le=604_800, description="Seconds that base latents are kept after the end."
    )
    retain_days: Days | None = Field(
        None,
        description="Days that the images are kept after the end of the job, whose record stays; the farm's own"
        " term when absent, and for ever where it has none.",
    )
    metadata: dict[MetadataKey, MetadataValue] = Field(
        {}, max_length=16, description="The user's own strings, kept with the job."
    )
    webhook: JobWebhook | None = Field(
        None, description="Whom to tell of the end of this job; the tenant's own webhooks alone when absent."
    )

    def seed_of(self, index: int) -> int:
        """Seed of image `index`, counted from 0. The spec must have a seed."""
        if self.seed is None:
            raise ValueError("the seed was not drawn yet")
        return (self.seed + index) % SEED_RANGE

    def picture(self) -> dict[str, Any]:
        """The fields that the picture depends on, JSON-ready: what is stored once per distinct spec."""
        fields = self.model_dump(mode="json", exclude=set(JOB_FIELDS))
        return {name: value for name, value in fields.items() if value is not None or name not in _LATER}


#: Left out where nobody asks for them: specs of earlier releases keep their digest, and a worker of the
#: release before reads what it can render.
_LATER = ("prompt_weighting",)
#: Fields that belong to the job, not to the picture.
JOB_FIELDS = (
    "num_images", "seed", "lane", "priority", "keep_latents", "retain_days", "metadata", "webhook",
)  # fmt: skip


def digest(picture: dict[str, Any]) -> bytes:
    """SHA-256 of a picture's canonical JSON: 32 bytes, equal for equal pictures."""
    text = json.dumps(picture, sort_keys=True, separators=(",", ":"), ensure_ascii=False)
    return hashlib.sha256(text.encode()).digest()
