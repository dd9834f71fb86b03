"""What a job would take, as the API answers it."""

from __future__ import annotations

from typing import Any, Literal

from pydantic import Field

from latentfarm.dataset_views import Estimate  # noqa: TC001 - pydantic needs the type at run time
from latentfarm.views import View


class JobQuote(View):
    """What a job would be; nothing was stored."""

    object: Literal["job.quote"] = Field("job.quote", description="Always `job.quote`.")
    model: str = Field(description="That would make it.")
    renders: int = Field(description="Images that it asks for.")
    megapixel_steps: float = Field(
        description="The work in all: pixels / 1,000,000 x evaluations of the UNet, of base and refiner."
    )
    estimate: Estimate = Field(description="What that would take.")
    spec: dict[str, Any] = Field(
        description="The spec with every default filled in; a seed that is null would be drawn."
    )
