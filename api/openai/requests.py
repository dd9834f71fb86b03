"""What OpenAI's clients send: their parameters, and beside them any field of a spec."""

from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, StringConstraints

from latentfarm.spec import MAX_PROMPT_CHARS

MOST_IMAGES = 10
MOST_PARTIAL = 3

Quality = Literal["auto", "low", "medium", "high", "xhigh", "max", "standard", "hd"]
Name = Annotated[str, StringConstraints(max_length=512)]


class ImagesRequest(BaseModel):
    """What both routes take. Fields that are not named here are fields of a spec, and checked as such."""

    model_config = ConfigDict(frozen=True, extra="allow", allow_inf_nan=False)

    prompt: str = Field(max_length=MAX_PROMPT_CHARS, description="What to paint.")
    model: str | None = Field(
        None, max_length=64, description="A name in the registry, see `GET /v1/models`; a spec's when absent."
    )
    n: int | None = Field(
        None,
        ge=1,
        le=MOST_IMAGES,
        description="How many images; image i has the seed `(seed + i) mod 2^53`; 1 when absent.",
    )
    size: str | None = Field(
        None,
        max_length=16,
        description="`WIDTHxHEIGHT` within the model's limits, or `auto`: the model's own size, or that of the"
        " picture that is edited, scaled where the model cannot render in it.",
    )
    response_format: Literal["b64_json", "url"] | None = Field(
        None,
        description="Whether the answer holds the images, or links that are good for some minutes; `b64_json` when"
        " absent.",
    )
    output_format: Literal["png", "jpeg", "webp"] | None = Field(
        None, description="Format of the files; png when absent."
    )
    output_compression: int | None = Field(
        None, ge=0, le=100, description="Quality of webp and jpeg, 100 the best; 90 and 95 when absent."
    )
    quality: Quality | None = Field(
        None,
        description="`low`: half of the model's steps; `medium`, `standard`, `auto`: its steps; `high`, `hd`, `xhigh`,"
        " `max`: its refiner too, where it has one. Steps or a refiner that the request names go first.",
    )
    background: Literal["auto", "opaque", "transparent"] | None = Field(
        None, description="`opaque` or `auto`: images have no alpha channel, and `transparent` is refused."
    )
    stream: bool | None = Field(
        None, description="Whether to answer with server-sent events, one for each image that is done."
    )
    partial_images: int | None = Field(
        None,
        ge=0,
        le=MOST_PARTIAL,
        description="How many previews of each image a stream may hold, before the image; fewer where it is soon done.",
    )
    user: Name | None = Field(None, description="Kept in the job's metadata.")
    safety_identifier: Name | None = Field(None, description="Kept in the job's metadata.")
    complexity: Literal["low", "medium", "high"] | None = Field(None, description="Without effect.")
    moderation: Literal["low", "auto"] | None = Field(
        None, description="Without effect: nothing here looks at what prompts ask for."
    )

    @property
    def fields(self) -> dict[str, Any]:
        """Those of a spec."""
        return self.model_extra or {}


class GenerationRequest(ImagesRequest):
    """A request for images made of words."""

    style: Literal["vivid", "natural"] | None = Field(
        None, description="Without effect: write it in the prompt."
    )


class EditRequest(ImagesRequest):
    """A request for images made of a picture; the form's files are no part of it."""

    input_fidelity: Literal["low", "high"] | None = Field(
        None, description="Without effect: `strength` says how much of the picture is to change."
    )
