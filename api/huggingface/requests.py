"""What `InferenceClient` of huggingface_hub sends."""

from typing import Annotated, Any

from pydantic import BaseModel, ConfigDict, Field, StringConstraints, WithJsonSchema

from latentfarm.foreign_samplers import NAMES
from latentfarm.spec import MAX_PROMPT_CHARS, Prompt, StrictModel

Scheduler = Annotated[
    str, StringConstraints(max_length=64), WithJsonSchema({"type": "string", "enum": list(NAMES)})
]


class TargetSize(StrictModel):
    """The size of the image that is wanted."""

    width: int = Field(ge=8, le=16_384, description="Pixels.")
    height: int = Field(ge=8, le=16_384, description="Pixels.")


class InferenceParameters(BaseModel):
    """Parameters that a spec names otherwise. What is not named here is a field of a spec."""

    model_config = ConfigDict(frozen=True, extra="allow", allow_inf_nan=False)

    scheduler: Scheduler | None = Field(
        None, description="The sampler, by diffusers' class, a spec's name, or Replicate's name."
    )
    prompt: Prompt | None = Field(
        None, description="Image-to-image: what to paint. It makes `inputs` a picture, in base64."
    )
    target_size: TargetSize | None = Field(None, description="A spec's `width` and `height`.")

    @property
    def fields(self) -> dict[str, Any]:
        """Those of a spec."""
        return self.model_extra or {}


class InferenceRequest(StrictModel):
    """A request for one image."""

    inputs: Annotated[str, WithJsonSchema({"type": "string"})] = Field(
        description=f"What to paint, at most {MAX_PROMPT_CHARS} characters; with `parameters.prompt` the picture to"
        " start from, in base64: at most 20 MiB and 16 megapixels.",
    )
    parameters: dict[str, Any] = Field(
        {}, max_length=100, description="As `InferenceParameters`, and beside it any field of a spec."
    )
