"""`DatasetRequest`: what a user says of a whole run, before a row is read."""

from __future__ import annotations

import re
from typing import Annotated, Any, Literal
from uuid import UUID  # noqa: TC003 - pydantic needs the type at run time

from pydantic import (
    AfterValidator,
    AwareDatetime,
    FailFast,
    Field,
    StringConstraints,
    field_validator,
    model_validator,
)

from latentfarm.keys import PREFIX
from latentfarm.spec import SEED_RANGE, Days, MetadataKey, MetadataValue, StrictModel
from latentfarm.webhooks.wish import JobWebhook  # noqa: TC001 - pydantic needs the type at run time

Format = Literal["jsonl", "csv", "parquet", "text"]
Layout = Literal["webdataset", "imagefolder", "parquet"]
Policy = Literal["mark", "drop", "again"]
Template = Literal["off", "combinatorial", "random"]
NAME = re.compile(r"[a-z0-9][a-z0-9._-]{0,62}")
Name = Annotated[str, StringConstraints(pattern=rf"^{NAME.pattern}$")]
WildcardName = Annotated[
    str, StringConstraints(max_length=64, pattern=r"^[A-Za-z0-9]+(?:[_/-][A-Za-z0-9]+)*$")
]
WildcardValue = Annotated[str, StringConstraints(min_length=1, max_length=1_024)]


def _some(values: tuple[str, ...]) -> tuple[str, ...]:
    if not values:
        raise ValueError("at least one value")
    return values


WildcardValues = Annotated[
    tuple[WildcardValue, ...], FailFast(), AfterValidator(_some), Field(json_schema_extra={"minItems": 1})
]
"""The first complaint is enough: half a million of one list, which a body has room for, would take 400 times its memory."""
FieldName = Annotated[str, StringConstraints(min_length=1, max_length=64)]
MAX_KEY = 1_024
"""Bytes, as S3 has it."""
MAX_ID = 200
"""Characters of a row's id."""
RowMetadata = Annotated[dict[MetadataKey, MetadataValue], Field(max_length=16)]
SOURCES = ("rows", "prompts", "upload", "key")


class ManifestSource(StrictModel):
    """Where the rows come from: exactly one of the four."""

    rows: tuple[dict[str, Any], ...] | None = Field(
        None, max_length=10_000, description="The rows themselves: objects of spec fields, `id`, `metadata`."
    )
    prompts: tuple[str, ...] | None = Field(
        None, max_length=10_000, description="Prompts, one per row, where the rest is the same for all."
    )
    upload: UUID | None = Field(None, description="Id of an upload.")
    key: str | None = Field(
        None, min_length=1, max_length=1_024, description="Key of an object in the farm's bucket."
    )

    @field_validator("key")
    @classmethod
    def _a_key_of_users(cls, key: str | None) -> str | None:
        """What the farm keeps in the bucket itself may be another tenant's, however the way there is written."""
        if key is None:
            return None
        segments = key.split("/")
        if key.startswith(PREFIX) or any(segment in ("", ".", "..") for segment in segments):
            raise ValueError(f"not under {PREFIX}, and without empty, . and .. parts")
        if not key.isprintable() or len(key.encode()) > MAX_KEY:
            raise ValueError(f"printable, and up to {MAX_KEY} bytes")
        return key

    @model_validator(mode="after")
    def _one_source(self) -> ManifestSource:
        given = [name for name in SOURCES if getattr(self, name) is not None]
        if len(given) != 1:
            raise ValueError(f"give exactly one of {', '.join(SOURCES)}, not {len(given)}")
        return self


class Sweep(StrictModel):
    """Lists of values that every row is rendered with."""

    product: dict[FieldName, tuple[Any, ...]] = Field(
        {}, max_length=16, description="Every value of each field with every value of the others."
    )
    zip: dict[FieldName, tuple[Any, ...]] = Field(
        {}, max_length=16, description="The first values together, then the second ones; lists of one length."
    )


class QualityPolicies(StrictModel):
    """What becomes of an image that a check finds: kept and marked, left out and counted, or rendered again.

    `again` takes another seed, 3 at most; an image that is wanting still is kept, and marked `exhausted`.
    """

    uniform: Policy = Field("mark", description="Of one colour.")
    dark: Policy = Field("mark", description="Nearly black.")
    non_finite: Policy = Field("mark", description="An attempt at it had ended in NaN or infinity.")
    duplicate: Policy = Field("mark", description="Looks like an earlier image of its shard.")


class DatasetRequest(StrictModel):
    """One run of a dataset. Its renders wait in lane `bulk`, always."""

    name: Name = Field(description="Of the dataset: lower-case letters, digits, dots, dashes, underscores.")
    manifest: ManifestSource = Field(description="Where the rows come from.")
    format: Format | None = Field(None, description="Of the manifest; as the key's ending says when absent.")
    defaults: dict[FieldName, Any] = Field(
        {},
        max_length=64,
        description="Spec fields for every row that does not say otherwise; `reproducible` is true and"
        " `keep_latents` 0 when absent.",
    )
    seed: int | None = Field(
        None,
        ge=0,
        lt=SEED_RANGE,
        description="Of the run: image i of it has `(seed + i) mod 2^53`; drawn when absent, always reported.",
    )
    template: Template = Field(
        "off",
        description="Whether prompts are templates: `combinatorial` renders every variant, `random` draws some.",
    )
    template_samples: int = Field(
        1, ge=1, le=100_000, description="With `random`: how many are drawn for each prompt."
    )
    wildcards: dict[WildcardName, WildcardValues] = Field(
        {}, max_length=1_000, description="What `__name__` in a template stands for."
    )
    sweep: Sweep = Field(Sweep(), description="Values that every row is rendered with.")
    skip_invalid: bool = Field(
        False, description="Whether rows with an error are left out and listed, rather than end it all."
    )
    layout: Layout = Field("webdataset", description="What shards are.")
    shard_samples: int = Field(1_000, ge=1, le=100_000, description="Images of one shard, at most.")
    shard_bytes: int = Field(
        1024**3,
        ge=1024**2,
        le=64 * 1024**3,
        description="Bytes of one file of a shard, about, at most; a shard with more has several.",
    )
    quality: QualityPolicies = Field(QualityPolicies(), description="What becomes of images that look wrong.")
    start_after: AwareDatetime | None = Field(None, description="Rendering begins then; at once when absent.")
    retain_days: Days | None = Field(
        None,
        description="Days that its files are kept after its end, while the record stays; the farm's own term when"
        " absent, and for ever where it has none.",
    )
    webhook: JobWebhook | None = Field(
        None,
        description="Whom to tell of the end of the run, or that its manifest was refused; the tenant's own webhooks"
        " alone when absent.",
    )
    metadata: RowMetadata = Field({}, description="The user's own strings, kept with the run.")
    priority: int = Field(0, ge=-10, le=10, description="Rank within the lane; higher goes first.")
