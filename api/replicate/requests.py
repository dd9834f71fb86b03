"""What Replicate's clients send: a prediction's frame, and inputs by the names of Replicate's SDXL."""

from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, StringConstraints, WithJsonSchema

from latentfarm.foreign_samplers import NAMES
from latentfarm.references import Picture
from latentfarm.spec import MAX_PROMPT_CHARS, Steps, StrictModel
from latentfarm.webhooks.wish import MOST_URL

MOST_OUTPUTS = 10
Scheduler = Annotated[
    str, StringConstraints(max_length=64), WithJsonSchema({"type": "string", "enum": list(NAMES)})
]
Event = Literal["start", "output", "logs", "completed"]
Url = Annotated[str, StringConstraints(min_length=1, max_length=MOST_URL)]


class PredictionRequest(StrictModel):
    """A prediction that is wanted."""

    version: str | None = Field(
        None,
        max_length=200,
        description="A version of a model, alone or as `latentfarm/NAME:VERSION`; or `latentfarm/NAME`.",
    )
    model: str | None = Field(
        None,
        max_length=100,
        description="`latentfarm/NAME`, in place of a version; not where the path says it.",
    )
    input: dict[str, Any] = Field(
        max_length=100, description="As `PredictionInput`, and beside it any field of a spec."
    )
    webhook: Url | None = Field(
        None,
        description="Where to tell: an https URL on port 443 of a public server. Signed with the default secret.",
    )
    webhook_completed: Url | None = Field(None, description="Not supported; `webhook` has taken its place.")
    webhook_events_filter: tuple[Event, ...] | None = Field(
        None,
        max_length=4,
        description="Of what the webhook is to tell, all of it when absent or empty. Outputs and logs come with the end.",
    )
    stream: bool | None = Field(None, description="`true` is refused: images do not come in pieces.")


class PredictionInput(BaseModel):
    """Inputs that Replicate's SDXL names otherwise than a spec. What is not named here is a field of a spec."""

    model_config = ConfigDict(frozen=True, extra="allow", allow_inf_nan=False)

    prompt: str = Field(max_length=MAX_PROMPT_CHARS, description="What to paint.")
    num_outputs: int = Field(
        1, ge=1, le=MOST_OUTPUTS, description="How many images; image i has the seed `(seed + i) mod 2^53`."
    )
    scheduler: Scheduler | None = Field(
        None, description="The sampler, by Replicate's name, diffusers' class, or a spec's name."
    )
    prompt_strength: float | None = Field(
        None, ge=0, le=1, description="With `image`: a spec's `strength`; 0.8 when absent."
    )
    refine: Literal["no_refiner", "expert_ensemble_refiner", "base_image_refiner"] | None = Field(
        None, description="How the refiner takes over: not, as mode `ensemble`, or as mode `image`."
    )
    high_noise_frac: float | None = Field(
        None, gt=0, lt=1, description="With `expert_ensemble_refiner`: the base's share; 0.8 when absent."
    )
    refine_steps: Steps | None = Field(
        None, description="With `base_image_refiner`: steps of the refiner; the base's when absent."
    )
    mask: Picture | None = Field(None, description="A spec's `mask_image`: white where to paint.")
    output_format: Literal["png", "jpg", "jpeg", "webp"] | None = Field(
        None, description="Format of the files; png when absent."
    )
    output_quality: int | None = Field(
        None, ge=0, le=100, description="Quality of jpeg and webp, 100 the best; 95 and 90 when absent."
    )
    apply_watermark: bool | None = Field(None, description="`true` is refused: no watermark is made.")
    disable_safety_checker: bool | None = Field(
        None, description="`false` is refused: nothing here looks at what is asked for."
    )
    lora_scale: float | None = Field(
        None, ge=0, le=1, description="Without effect, as with SDXL itself: `loras` carry their weights."
    )

    @property
    def fields(self) -> dict[str, Any]:
        """Those of a spec."""
        return self.model_extra or {}
