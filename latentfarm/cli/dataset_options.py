"""Options of `latentfarm dataset create` that are not those of a spec."""

from __future__ import annotations

import inspect
import json
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from latentfarm.errors import InvalidInput

if TYPE_CHECKING:
    from collections.abc import Mapping

Pairs = list[str] | None

Manifest = Annotated[
    Path | None,
    typer.Argument(
        help="JSONL, CSV, Parquet or text with a prompt per line; - for standard input.", show_default=False
    ),
]
Prompts = Annotated[Pairs, typer.Option("--prompt", help="A row with this prompt; may be repeated.")]
Key = Annotated[str | None, typer.Option(help="A manifest that is in the farm's bucket.")]
DryRun = Annotated[bool, typer.Option("--dry-run", help="Tell what it would be, and make nothing.")]
Wait = Annotated[
    bool | None,
    typer.Option(
        "--wait/--no-wait",
        help="Follow it to its end, or leave at once; when absent, until its manifest was read.",
        show_default=False,
    ),
]


@dataclass(frozen=True, slots=True)
class RunOption:
    """One option of a run, and the parameter that it becomes."""

    name: str
    kind: Any
    default: Any = None

    def parameter(self) -> inspect.Parameter:
        """For the signature of the command."""
        place = inspect.Parameter.KEYWORD_ONLY
        return inspect.Parameter(self.name, place, default=self.default, annotation=self.kind)


def _option(name: str, kind: Any, *names: str, default: Any = None, **told: Any) -> RunOption:
    return RunOption(name, Annotated[kind, typer.Option(*names, **told)], default)


RUN_OPTIONS = (
    _option(
        "format_",
        str | None,
        "--format",
        metavar="jsonl|csv|parquet|text",
        help="As the file's ending says when absent.",
    ),
    _option("seed", int | None, help="Of the run: image i has seed + i; drawn when absent."),
    _option(
        "template", str | None, metavar="off|combinatorial|random", help="Whether prompts are templates."
    ),
    _option("template_samples", int | None, help="With random templates: prompts drawn from each."),
    _option("wildcard", Pairs, metavar="NAME=A,B,...", help="What __NAME__ in a template stands for."),
    _option(
        "sweep_product",
        Pairs,
        metavar="FIELD=A,B,...",
        help="Every row with each value, and with each other's.",
    ),
    _option(
        "sweep_zip",
        Pairs,
        metavar="FIELD=A,B,...",
        help="Every row with the first values, the second ones, ...",
    ),
    _option(
        "skip_invalid",
        bool,
        "--skip-invalid",
        default=False,
        help="Leave rows with an error out, and list them.",
    ),
    _option("layout", str | None, metavar="webdataset|imagefolder|parquet", help="What shards are."),
    _option("shard_samples", int | None, help="Images of one shard; 1000 when absent."),
    _option("shard_bytes", int | None, help="Bytes of one file of a shard, about; 1 GiB when absent."),
    _option(
        "quality",
        Pairs,
        metavar="uniform|dark|non_finite|duplicate=mark|drop|again",
        help="What becomes of images that look wrong; `again` renders them with another seed, 3 times at most.",
    ),
    _option("start_after", str | None, metavar="TIME", help="Rendering begins then: 2030-01-31T20:00:00Z."),
    _option(
        "days",
        float | None,
        "--retain-days",
        help="Its files are kept so long after its end; as the farm has it.",
    ),
    _option("meta", Pairs, "--metadata", metavar="KEY=VALUE", help="Your own strings, kept with the run."),
    _option("hook", str | None, "--webhook-url", help="Whom to tell of its end: an https URL."),
    _option("rank", int | None, "--priority", help="-10 to 10; higher goes first."),
)
"""In the order in which the help shows them."""
_PLAIN = ("seed", "template", "template_samples", "layout", "shard_samples", "shard_bytes", "start_after")


def asked(given: Mapping[str, Any]) -> dict[str, Any]:
    """The fields of a `DatasetRequest` that the options of a run give."""
    fields: dict[str, Any] = {name: given[name] for name in _PLAIN} | {
        "format": given["format_"],
        "wildcards": lists("--wildcard", given["wildcard"], texts=True) or None,
        "sweep": _sweep(given["sweep_product"], given["sweep_zip"]),
        "skip_invalid": given["skip_invalid"] or None,
        "quality": pairs("--quality", given["quality"]) or None,
        "metadata": pairs("--metadata", given["meta"]) or None,
        "priority": given["rank"],
        "webhook": {"url": given["hook"]} if given["hook"] else None,
        "retain_days": given["days"],
    }
    return {field: value for field, value in fields.items() if value is not None}


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
