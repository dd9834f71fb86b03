"""`latentfarm dataset create`: a manifest in, shards out."""

from __future__ import annotations

import json
import time
from pathlib import Path  # noqa: TC003 - Typer reads it at run time
from typing import TYPE_CHECKING, Annotated, Any

import typer
from pydantic import ValidationError

from latentfarm.cli.dataset_manifest import local_rows, opened
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
    "seed", "lane", "priority", "metadata", "webhook", "image", "mask_image", "strength", "padding_mask_crop",
}  # fmt: skip
LOOK_S = 0.3

Pairs = list[str] | None


def default_options() -> Iterator[SpecOption]:
    """Options for the fields that all rows have, unless they say otherwise."""
    return (option for option in spec_options() if option.path[0] not in NOT_DEFAULTS)


def create(
    name: Annotated[str, typer.Argument(help="Of the dataset: lower-case letters, digits, . _ -")],
    manifest: Annotated[
        Path | None,
        typer.Argument(
            help="JSONL, CSV, Parquet or text with a prompt per line; - for standard input.",
            show_default=False,
        ),
    ] = None,
    *,
    prompt: Annotated[
        Pairs, typer.Option("--prompt", help="A row with this prompt; may be repeated.")
    ] = None,
    key: Annotated[str | None, typer.Option(help="A manifest that is in the farm's bucket.")] = None,
    format_: Annotated[
        str | None,
        typer.Option(
            "--format", metavar="jsonl|csv|parquet|text", help="As the file's ending says when absent."
        ),
    ] = None,
    seed: Annotated[
        int | None, typer.Option(help="Of the run: image i has seed + i; drawn when absent.")
    ] = None,
    template: Annotated[
        str | None,
        typer.Option(metavar="off|combinatorial|random", help="Whether prompts are templates."),
    ] = None,
    template_samples: Annotated[
        int | None, typer.Option(help="With random templates: prompts drawn from each.")
    ] = None,
    wildcard: Annotated[
        Pairs, typer.Option(metavar="NAME=A,B,...", help="What __NAME__ in a template stands for.")
    ] = None,
    sweep_product: Annotated[
        Pairs, typer.Option(metavar="FIELD=A,B,...", help="Every row with each value, and with each other's.")
    ] = None,
    sweep_zip: Annotated[
        Pairs,
        typer.Option(metavar="FIELD=A,B,...", help="Every row with the first values, the second ones, ..."),
    ] = None,
    skip_invalid: Annotated[
        bool, typer.Option("--skip-invalid", help="Leave rows with an error out, and list them.")
    ] = False,
    layout: Annotated[
        str | None, typer.Option(metavar="webdataset|imagefolder|parquet", help="What shards are.")
    ] = None,
    shard_samples: Annotated[int | None, typer.Option(help="Images of one shard; 1000 when absent.")] = None,
    quality: Annotated[
        Pairs,
        typer.Option(
            metavar="uniform|dark|duplicate=mark|drop", help="What becomes of images that look wrong."
        ),
    ] = None,
    start_after: Annotated[
        str | None, typer.Option(metavar="TIME", help="Rendering begins then: 2030-01-31T20:00:00Z.")
    ] = None,
    meta: Annotated[
        Pairs, typer.Option("--metadata", metavar="KEY=VALUE", help="Your own strings, kept with the run.")
    ] = None,
    rank: Annotated[int | None, typer.Option("--priority", help="-10 to 10; higher goes first.")] = None,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Tell what it would be, and make nothing.")
    ] = False,
    wait: Annotated[
        bool | None,
        typer.Option(
            "--wait/--no-wait",
            help="Follow it to its end, or leave at once; when absent, until its manifest was read.",
            show_default=False,
        ),
    ] = None,
    api: Api = None,
    json_: Json = False,
    **given: Any,
) -> None:
    """Make a dataset out of a manifest. The same manifest again goes on with it, and so do rows after it.

    An error names the line and the field, and nothing is made.
    """
    fields = {
        "name": name,
        "format": format_,
        "defaults": collect(given, default_options()) or None,
        "seed": seed,
        "template": template,
        "template_samples": template_samples,
        "wildcards": lists("--wildcard", wildcard, texts=True) or None,
        "sweep": _sweep(sweep_product, sweep_zip),
        "skip_invalid": skip_invalid or None,
        "layout": layout,
        "shard_samples": shard_samples,
        "quality": pairs("--quality", quality) or None,
        "start_after": start_after,
        "metadata": pairs("--metadata", meta) or None,
        "priority": rank,
    }
    request = {field: value for field, value in fields.items() if value is not None}
    with Client(api) as client:
        if dry_run:
            _dry_run(client, request, manifest, prompt, key, json_=json_)
            return
        made = client.datasets.create(_with_manifest(client, request, manifest, prompt, key))
        _go_on(client, made, wait=wait, json_=json_)


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


def _dry_run(
    client: Client,
    request: dict[str, Any],
    path: Path | None,
    prompts: Pairs,
    key: str | None,
    *,
    json_: bool,
) -> None:
    source = _source(path, prompts, key)
    checked = _read(request | {"manifest": source or {"prompts": []}})
    if path is None:
        plan = client.datasets.plan(checked)
    else:
        with opened(path) as file:
            form = format_of(path.name, checked.format)
            local = local_rows(file, form, skip_invalid=checked.skip_invalid)
        try:
            plan = local.plan(client.datasets.plan(_read(request | {"manifest": {"rows": local.rows}})))
        except ManifestError as error:
            raise local.at(error) from error
    if json_:
        as_json(plan.model_dump(mode="json"))
    else:
        show_plan(plan)


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


def _sweep(product: Pairs, zipped: Pairs) -> dict[str, Any] | None:
    sweep = {"product": lists("--sweep-product", product), "zip": lists("--sweep-zip", zipped)}
    return {kind: found for kind, found in sweep.items() if found} or None


def pairs(option: str, entries: Pairs) -> dict[str, str]:
    """`KEY=VALUE` of a repeated option.

    Raises:
        InvalidInput: one has no `=`.
    """
    for entry in entries or ():
        if "=" not in entry:
            raise InvalidInput(option, f"cannot read {entry!r}", "KEY=VALUE")
    return dict(entry.split("=", 1) for entry in entries or ())


def lists(option: str, entries: Pairs, *, texts: bool = False) -> dict[str, list[Any]]:
    """`KEY=A,B,...` of a repeated option; a JSON list where values hold commas.

    Args:
        texts: values are texts, also those that look like numbers.
    """
    return {name: _values(option, text, texts=texts) for name, text in pairs(option, entries).items()}


def _values(option: str, text: str, *, texts: bool) -> list[Any]:
    if text.startswith("["):
        try:
            return list(json.loads(text))
        except ValueError as error:
            raise InvalidInput(option, f"{text[:60]!r} is no JSON list", 'A,B,... or ["A", "B"]') from error
    parts = [part.strip() for part in text.split(",")]
    return list(parts) if texts else [_value(part) for part in parts]


def _value(text: str) -> Any:
    try:
        return json.loads(text)
    except ValueError:
        return text
