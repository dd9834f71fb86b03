"""`latentfarm dataset create`: a manifest in, shards out."""

from __future__ import annotations

import json
import time
from pathlib import Path  # noqa: TC003 - Typer reads it at run time
from typing import TYPE_CHECKING, Annotated, Any

import typer
from pydantic import ValidationError

from latentfarm.cli.dataset_manifest import opened
from latentfarm.cli.dataset_options import DryRun, Key, Manifest, Pairs, Prompts, Wait, asked
from latentfarm.cli.dataset_shown import show_plan, tell
from latentfarm.cli.dataset_watch import follow
from latentfarm.cli.options import SpecOption, collect, spec_options
from latentfarm.cli.output import Api, Json, as_json, complain
from latentfarm.client import Client
from latentfarm.errors import InvalidInput, ManifestError
from latentfarm.explain import explain
from latentfarm.manifests.reading import format_of
from latentfarm.manifests.request import DatasetRequest

if TYPE_CHECKING:
    from collections.abc import Iterator

    from latentfarm.dataset_views import DatasetView

#: Of a spec, but not of all rows of a dataset: the run has its own, or rows cannot have them.
NOT_DEFAULTS = {
    "seed", "lane", "priority", "retain_days", "metadata", "webhook", "image", "mask_image", "strength", "padding_mask_crop",
}  # fmt: skip
LOOK_S = 0.3


def default_options() -> Iterator[SpecOption]:
    """Options for the fields that all rows have, unless they say otherwise."""
    return (option for option in spec_options() if option.path[0] not in NOT_DEFAULTS)


def create(
    name: Annotated[str, typer.Argument(help="Of the dataset: lower-case letters, digits, . _ -")],
    manifest: Manifest = None,
    *,
    prompt: Prompts = None,
    key: Key = None,
    dry_run: DryRun = False,
    wait: Wait = None,
    api: Api = None,
    json_: Json = False,
    **given: Any,
) -> None:
    """Make a dataset out of a manifest. The same manifest again goes on with it, and so do rows after it.

    An error names the line and the field, and nothing is made.
    """
    request = {"name": name} | asked(given)
    if defaults := collect(given, default_options()):
        request["defaults"] = defaults
    with Client(api) as client:
        asked_for = _with_manifest(client, request, manifest, prompt, key)
        if not dry_run:
            _go_on(client, client.datasets.create(asked_for), wait=wait, json_=json_)
            return
        plan = client.datasets.plan(asked_for)
    if json_:
        as_json(plan.model_dump(mode="json"))
    else:
        show_plan(plan)


def _go_on(client: Client, made: DatasetView, *, wait: bool | None, json_: bool) -> None:
    if wait is not False:
        made = _until_checked(client, made)
        if not json_ and wait:
            complain(f"dataset {made.name}: {made.counts.images} images, seed {made.seed}")
    if wait:
        made = follow(client, made.name)
    tell(made, json_=json_)
    if wait and made.state != "succeeded":
        raise typer.Exit(1)


def _until_checked(client: Client, made: DatasetView) -> DatasetView:
    """Returns once the manifest was read.

    Raises:
        ManifestError: it is not right.
    """
    if made.phase != "checking":
        return made
    while made.phase == "checking":
        time.sleep(LOOK_S)
        made = client.datasets.get(made.name)
    if (error := made.error) is not None:
        raise ManifestError(error.field, error.message, error.allowed, line=error.line)
    return made


def _with_manifest(
    client: Client, request: dict[str, Any], path: Path | None, prompts: Pairs, key: str | None
) -> DatasetRequest:
    """Looks at the rest before anything is uploaded."""
    source = _source(path, prompts, key)
    checked = _read(request | {"manifest": source or {"prompts": []}})
    if path is None:
        return checked
    form = format_of(path.name, checked.format)
    with opened(path) as file:
        upload = client.datasets.upload(file)
    return _read(request | {"manifest": {"upload": upload}, "format": form})


def _source(path: Path | None, prompts: Pairs, key: str | None) -> dict[str, Any]:
    given = [one for one in (path, prompts or None, key) if one is not None]
    if len(given) != 1:
        raise InvalidInput("manifest", f"{len(given)} given", "one of: a file, --prompt, --key")
    return {"prompts": prompts} if prompts else {"key": key} if key is not None else {}


def _read(fields: dict[str, Any]) -> DatasetRequest:
    try:
        return DatasetRequest.model_validate_json(json.dumps(fields))
    except ValidationError as error:
        raise explain(error, DatasetRequest)[0] from error
