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
MOST_BYTES = 2**60

Weight = Annotated[float, Field(ge=LEAST_WEIGHT, le=MOST_WEIGHT, allow_inf_nan=False)]
Limit = Annotated[int, Field(ge=0, le=MOST)]
Units = Annotated[float, Field(ge=0, le=1e15, allow_inf_nan=False)]
Bytes = Annotated[int, Field(ge=0, le=MOST_BYTES)]


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
    max_cost_in_flight: Units | None = Field(
        None, description="Units (megapixel-steps) of accepted images that are not final; null: no limit."
    )
    max_cost_per_day: Units | None = Field(
        None, description="Units (megapixel-steps) accepted in one day of UTC; null: no limit."
    )
    max_storage_bytes: Bytes | None = Field(
        None,
        description="Bytes of images, files of datasets and files of clients that are kept; null: no limit.",
    )
    max_files: Limit | None = Field(
        None, description="Files of clients, and uploads, that are kept at once; null: no limit."
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
    max_cost_in_flight: float | None = Field(None, description="Units of cost in flight; null: no limit.")
    cost_in_flight: float | None = Field(
        None, description="Units of images that are not final; null in lists, and without quotas."
    )
    max_cost_per_day: float | None = Field(None, description="Units of cost of a day; null: no limit.")
    cost_today: float | None = Field(None, description="Units accepted today; null without quotas.")
    cost_resets_at: datetime | None = Field(None, description="When the day ends; null without quotas.")
    max_storage_bytes: int | None = Field(None, description="Bytes that may be kept; null: no limit.")
    storage_bytes: int | None = Field(
        None,
        description="Bytes kept, as last counted, and those that may come of what is accepted; null in lists, and"
        " without a limit.",
    )
    max_files: int | None = Field(None, description="Files that may be kept at once; null: no limit.")
    files: int | None = Field(
        None, description="Files of clients, and uploads, that are kept; null in lists, and without a limit."
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
