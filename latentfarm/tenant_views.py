"""What may be said of tenants, and what the API answers about them."""

from __future__ import annotations

from datetime import datetime  # noqa: TC003 - pydantic needs the type at run time
from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field

from latentfarm.views import View

NAMELESS = "-"
"""Stands for the tenant without a name where a name is needed: no name begins with it."""
LEAST_WEIGHT, MOST_WEIGHT = 0.01, 100.0
"""One tenant has at most ten thousand times the part of another: more would be a pause that nobody sees."""
MOST = 2**31 - 1

Weight = Annotated[float, Field(ge=LEAST_WEIGHT, le=MOST_WEIGHT, allow_inf_nan=False)]
Limit = Annotated[int, Field(ge=0, le=MOST)]


class TenantSettings(BaseModel):
    """What is to be other than it is; what is left out stays."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    weight: Weight = Field(
        1.0, description="Its part of the farm against the other tenants that have work waiting."
    )
    max_in_flight: Limit | None = Field(
        None, description="Renders dispatched or running at once; null: no limit."
    )
    max_queued: Limit | None = Field(
        None,
        description="Renders that may wait; a job that would pass it is refused, a dataset comes in as there is room;"
        " null: no limit.",
    )
    paused: bool = Field(False, description="Whether nothing more of it is sent to workers.")


class TenantView(View):
    """Who shares the farm, and how it stands."""

    object: Literal["tenant"] = Field("tenant", description="Always `tenant`.")
    name: str = Field(description="Its name; empty: the tenant without one, which paths call `-`.")
    weight: float = Field(
        description="Its part of the farm against the other tenants that have work waiting."
    )
    max_in_flight: int | None = Field(
        None, description="Renders dispatched or running at once; null: no limit."
    )
    max_queued: int | None = Field(None, description="Renders that may wait; null: no limit.")
    paused_at: datetime | None = Field(None, description="Since when nothing more of it is sent to workers.")
    in_flight: int = Field(description="Renders dispatched or running, as of the last second.")
    queued: int | None = Field(
        None, description="Renders that wait, but for those of paused jobs; null in lists."
    )
    used_s: float = Field(description="GPU-seconds that it has had in all.")
    deficit_s: float = Field(description="GPU-seconds that it is owed; negative: had too many.")
    render_s: float | None = Field(
        None, description="GPU-seconds of one of its renders, of late; null: nothing of it has run."
    )
    url: str = Field(description="Where it is shown.")


class TenantList(View):
    """Tenants by name."""

    object: Literal["list"] = Field("list", description="Always `list`.")
    data: list[TenantView] = Field(description="The tenants.")
    has_more: bool = Field(description="Whether there are further ones.")
    next_cursor: str | None = Field(None, description="Give it as `after` to read on.")
