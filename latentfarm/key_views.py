"""API keys on the wire: what is asked, and what is told of them."""

from __future__ import annotations

from datetime import datetime  # noqa: TC003 - pydantic needs the type at run time
from typing import Annotated, Literal

from pydantic import Field, StringConstraints

from latentfarm.api_keys import NAME, Scope
from latentfarm.rates import PATTERN
from latentfarm.spec import StrictModel
from latentfarm.views import View

MOST_DAYS = 3_650
MOST_HOURS = 720
"""Hours that a key is good for beside the one that replaces it."""
Name = Annotated[str, StringConstraints(max_length=64, pattern=rf"^{NAME.pattern}$")]
RateText = Annotated[str, StringConstraints(max_length=64, pattern=PATTERN)]
TenantName = Annotated[str, StringConstraints(max_length=64, pattern=rf"^({NAME.pattern})?$")]


class KeyRequest(StrictModel):
    """A key that is wanted."""

    tenant: TenantName = Field("", description="Whose rows it reaches; empty: of the tenant without a name.")
    name: Name = Field(description="What it is for, so that people know it again.")
    scopes: tuple[Scope, ...] = Field(
        min_length=1,
        max_length=4,
        description="What it may do: `submit` work, `read`, `cancel`; `admin`: all of it, for every tenant.",
    )
    expires_days: int | None = Field(
        None, ge=1, le=MOST_DAYS, description="Days until it expires; never when absent."
    )
    rate: RateText | None = Field(
        None,
        description="How often it may ask, such as `100/second;3000/minute`; `none`: as often as it likes; as the farm"
        " has it when absent.",
    )


class RotateRequest(StrictModel):
    """How a key is to be replaced."""

    overlap_hours: int = Field(
        24, ge=0, le=MOST_HOURS, description="Hours for which the old key is good beside the new one."
    )
    rate: RateText | None = Field(
        None, description="How often the new one may ask; as the old one when absent."
    )


class KeyView(View):
    """A key, without its secret."""

    object: Literal["api_key"] = "api_key"
    prefix: str = Field(description="Its visible part, which names it.")
    tenant: str = Field(description="Whose rows it reaches.")
    name: str = Field(description="What it is for.")
    scopes: list[Scope] = Field(description="What it may do.")
    created_at: datetime = Field(description="When it was made.")
    expires_at: datetime | None = Field(description="When it ends.")
    last_used_at: datetime | None = Field(description="When it was last used, to the minute.")
    revoked_at: datetime | None = Field(description="When it was revoked.")
    replaced_by: str | None = Field(description="Prefix of the key that it was rotated to.")
    rate: str | None = Field(None, description="How often it may ask; null: as the farm has it.")


class KeyCreated(KeyView):
    """A new key, with its secret for the only time."""

    key: str = Field(description="For `Authorization: Bearer`. It is kept nowhere, so keep it safe.")


class KeyList(View):
    """A page of keys, in the order in which they were made."""

    object: Literal["list"] = "list"
    data: list[KeyView] = Field(description="The keys of this page.")
    next: str | None = Field(description="For `after`; null on the last page.")
