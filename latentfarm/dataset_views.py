"""What the API answers about datasets, and what the client reads."""

from __future__ import annotations

from datetime import datetime  # noqa: TC003 - pydantic needs the type at run time
from typing import Any, Literal
from uuid import UUID  # noqa: TC003 - pydantic needs the type at run time

from pydantic import Field

from latentfarm.views import View

DatasetState = Literal[
    "checking", "rejected", "queued", "running", "paused", "succeeded", "failed", "cancelled"
]
FINAL = frozenset({"rejected", "succeeded", "failed", "cancelled"})


class DatasetCounts(View):
    """How far a dataset is. Nothing of it goes back, unless images are queued again: failed, or found wanting."""

    images: int = Field(description="That its manifest asks for; 0 until that is checked.")
    inserted: int = Field(description="That have come in by now.")
    queued: int = Field(description="Images and shards whose turn has not come.")
    ended: int = Field(description="Images that are final.")
    failed: int = Field(description="Of these, images that failed.")
    redrawn: int = Field(0, description="Times that an image was rendered again with another seed.")
    packed: int = Field(description="Images in sealed shards.")
    shards: int = Field(description="Shards of all images.")
    sealed: int = Field(description="Shards that are sealed.")


class Rate(View):
    """How fast it goes."""

    images_per_second: float | None = Field(None, description="Null until the first image has ended.")
    eta_s: float | None = Field(None, description="Seconds until the last image, at this rate.")
    basis: str = Field(description="What these figures are made of.")


class SkippedRow(View):
    """A row of the manifest that was left out."""

    line: int = Field(description="Of the manifest.")
    field: str = Field(description="What is wrong.")
    message: str = Field(description="Why, and what would be allowed.")


class FirstSample(View):
    """One of the first images, expanded."""

    id: str = Field(description="Its name in the dataset.")
    line: int = Field(description="Of the manifest, that it comes from.")
    seed: int = Field(description="Of its noise.")
    spec: dict[str, Any] = Field(description="Every field of its picture; long texts are cut.")


class ManifestReport(View):
    """What the manifest gives."""

    rows: int = Field(description="That were read.")
    images: int = Field(description="That they ask for.")
    skipped: int = Field(description="Rows that were left out, with `skip_invalid`.")
    skipped_rows: list[SkippedRow] = Field(description="The first of these.")
    duplicates: int = Field(description="Images that are asked for again: same picture, same seed.")
    megapixel_steps: float = Field(
        description="The work in all: pixels / 1,000,000 x evaluations of the UNet."
    )
    first: list[FirstSample] = Field(description="The first images, expanded.")


class ManifestFault(View):
    """Why a manifest was refused after the request had been answered."""

    line: int | None = Field(None, description="Of the manifest; null: it is wrong as a whole.")
    field: str = Field(description="What is wrong.")
    message: str = Field(description="Why.")
    allowed: str = Field("", description="What would be right.")


class FailedShard(View):
    """A shard that could not be packed."""

    number: int = Field(description="Of the shard; -1: the files at the top.")
    part: int = Field(description="0, or more for what was made after it was sealed.")
    error_class: str | None = Field(None, description="What kind of failure it was.")
    message: str | None = Field(None, description="What the worker said.")


class DatasetSummary(View):
    """A dataset in a list."""

    object: Literal["dataset"] = Field("dataset", description="Always `dataset`.")
    id: UUID = Field(description="That of its job.")
    name: str = Field(description="Unique.")
    state: DatasetState = Field(description="What it is at.")
    phase: Literal["checking", "rejected", "inserting", "inserted"] = Field(
        description="What its manifest is at: being read, refused, coming in, or all in."
    )
    counts: DatasetCounts = Field(description="How far it is.")
    seed: int = Field(description="Of the run: image i has `(seed + i) mod 2^53`.")
    created_at: datetime = Field(description="When it was asked for first.")
    started_at: datetime | None = Field(None, description="When a worker took its first image.")
    finished_at: datetime | None = Field(None, description="When the last shard was sealed.")
    start_after: datetime | None = Field(None, description="Nothing of it is rendered before.")
    retain_days: float | None = Field(
        None, description="Days that its files are kept after its end; null: for ever."
    )
    expires_at: datetime | None = Field(
        None, description="When its files go; null while it is at work, and where they are kept for ever."
    )
    gone_at: datetime | None = Field(None, description="Since when its files are gone; the record stays.")
    url: str = Field(description="Where it is shown.")

    @property
    def is_final(self) -> bool:
        """Whether nothing about it will change unless somebody asks for it."""
        return self.state in FINAL and self.phase in ("rejected", "inserted")


class DatasetView(DatasetSummary):
    """A dataset in full."""

    layout: str = Field(description="What its shards are.")
    shard_samples: int = Field(description="Images of one shard, at most.")
    fingerprint: str | None = Field(
        None, description="SHA-256 of what makes its pictures besides its rows, in hexadecimal."
    )
    report: ManifestReport | None = Field(None, description="What its manifest gives; null until checked.")
    error: ManifestFault | None = Field(None, description="Why its last manifest was refused.")
    failures: dict[str, int] = Field(description="Failed images by class, of the first 10,000.")
    failed_shards: list[FailedShard] = Field(description="Shards that could not be packed, the first ones.")
    held_back: str | None = Field(
        None, description="Why no further images come in for now: its tenant has as many waiting as it may."
    )
    rate: Rate = Field(description="How fast it goes.")
    device_seconds: float = Field(description="That devices spent on the images in sealed shards.")
    metadata: dict[str, str] = Field(description="The user's own strings.")


class DatasetList(View):
    """A page of datasets, newest first."""

    object: Literal["list"] = Field("list", description="Always `list`.")
    data: list[DatasetSummary] = Field(description="The datasets.")
    has_more: bool = Field(description="Whether there are older ones.")
    next_cursor: str | None = Field(None, description="Give it as `after` to read on.")


class Estimate(View):
    """What a dataset would take."""

    device_seconds: float | None = Field(None, description="Null: nothing is known yet.")
    device_seconds_basis: str = Field(description="What that figure is made of.")
    bytes: int | None = Field(None, description="Of all images; null: nothing is known yet.")
    bytes_basis: str = Field(description="What that figure is made of.")


class DatasetPlan(ManifestReport):
    """What a dry run finds; nothing was stored."""

    object: Literal["dataset.plan"] = Field("dataset.plan", description="Always `dataset.plan`.")
    name: str = Field(description="That the dataset would have.")
    seed: int = Field(description="That the run would have, if it was given; else drawn for this answer.")
    estimate: Estimate = Field(description="What it would take.")


class DatasetPlanning(View):
    """A dry run of a manifest in the bucket, which the scheduler makes."""

    object: Literal["dataset.planning"] = Field("dataset.planning", description="Always `dataset.planning`.")
    id: UUID = Field(description="Of the dry run; it is kept for a day.")
    state: Literal["checking", "planned", "rejected"] = Field(description="What it is at.")
    plan: DatasetPlan | None = Field(None, description="What was found; null until then.")
    error: ManifestFault | None = Field(None, description="What is wrong with the manifest.")
    url: str = Field(description="Where it is shown.")


class Retried(View):
    """What was queued again."""

    object: Literal["dataset.retried"] = Field("dataset.retried", description="Always `dataset.retried`.")
    retried: int = Field(description="Failed images, and shards that could not be packed.")
    dataset: DatasetView = Field(description="The dataset by now.")


class FailureView(View):
    """An image that failed."""

    ordinal: int = Field(description="Of the image in the run, counted from 0.")
    seed: int = Field(description="Of its noise.")
    error_class: str | None = Field(None, description="What kind of failure it was.")
    message: str | None = Field(None, description="What the worker said, cut short.")


class FailureList(View):
    """Failed images by ordinal."""

    object: Literal["list"] = Field("list", description="Always `list`.")
    data: list[FailureView] = Field(description="The images.")
    next: int | None = Field(None, description="`from` of the next page; null: the last one.")


class FileView(View):
    """A file of a dataset."""

    path: str = Field(description="Below the dataset's folder.")
    size: int = Field(description="Bytes.")
    sha256: str = Field(description="In hexadecimal.")
    url: str = Field(description="A signed link; good for some minutes.")


class ShardView(View):
    """A sealed shard."""

    number: int = Field(description="Of the shard; -1: the files at the top.")
    part: int = Field(description="0, or more for what was made after it was sealed.")
    images: int = Field(description="That it holds.")
    files: list[FileView] = Field(description="Its files; of a shard the completion mark is the last.")


class FileList(View):
    """Sealed shards, with a link to each file."""

    object: Literal["list"] = Field("list", description="Always `list`.")
    data: list[ShardView] = Field(description="The shards, the files at the top first.")
    next: str | None = Field(None, description="`after` of the next page; null: the last one.")
