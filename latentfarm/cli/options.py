"""Options out of `RenderSpec` and `RefineRequest`, so that a new field is an option at once.

Nested models become prefixed options: `refiner.high_noise_frac` is `--refiner-high-noise-frac`.
"""

from __future__ import annotations

import inspect
import types
from dataclasses import dataclass, replace
from enum import StrEnum
from typing import TYPE_CHECKING, Annotated, Any, Literal, Union, get_args, get_origin

import typer
from pydantic import BaseModel

from latentfarm.adapters import LoraUse
from latentfarm.cli.panels import panel_of
from latentfarm.errors import InvalidInput
from latentfarm.explain import allowed
from latentfarm.references import INPUT_FIELDS
from latentfarm.refinement import RefineRequest
from latentfarm.spec import RenderSpec

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterable, Iterator, Mapping

    from pydantic.fields import FieldInfo

_SHORT = {
    "num_images": "-n",
    "num_inference_steps": "--steps",
    "guidance_scale": "--guidance",
    "mask_image": "--mask",
}


@dataclass(frozen=True, slots=True)
class SpecOption:
    """One option and the field that it fills.

    Attributes:
        path: names from the spec down to the field.
        kind: type of the parameter.
        read: turns what the command line gives into what the spec takes.
        default: whether the help tells the field's default: nobody may have filled it in.
        model: whose field it is.
    """

    path: tuple[str, ...]
    field: FieldInfo
    kind: Any
    metavar: str | None
    read: Callable[[Any], Any]
    default: bool = True
    model: type[BaseModel] = RenderSpec

    @property
    def name(self) -> str:
        """Name of the Python parameter."""
        return "_".join(self.path)

    def help(self) -> str:
        """The field's sentence, with its range and the default that the server fills in."""
        default = self.field.default
        plain = isinstance(default, bool | int | float | str)
        told = [_range(self.model, self.path)]
        if self.kind is bool or (self.metavar or "").count("|"):
            told = []  # the flag shows it
        if plain and self.default:
            told.append(f"default: {str(default).lower()}")
        noted = "; ".join(part for part in told if part)
        return f"{self.field.description} [{noted}]" if noted else self.field.description or ""

    def parameter(self) -> inspect.Parameter:
        """The parameter that Typer makes an option of."""
        flag = f"--{'-'.join(self.path).replace('_', '-')}"
        flags = [f"{flag}/--no-{flag[2:]}"] if self.kind is bool else [flag]
        option = typer.Option(
            *[*flags, _SHORT[self.name]] if self.name in _SHORT else flags,
            help=self.help(),
            metavar=self.metavar,
            show_default=False,
            rich_help_panel=panel_of(self.path[0]),
        )
        kind = list[str] if self.metavar == "KEY=VALUE" else self.kind
        return inspect.Parameter(
            self.name,
            inspect.Parameter.KEYWORD_ONLY,
            default=None,
            annotation=Annotated[kind | None, option],
        )


def spec_options() -> Iterator[SpecOption]:
    """An option for every field but the prompt, which is an argument."""
    return _options(RenderSpec, switches={"refiner"}, arguments={"prompt"})


def refine_options() -> Iterator[SpecOption]:
    """An option for everything that may be other than in the job, which has the defaults."""
    found = _options(RefineRequest, switches=set(), arguments=set())
    return (replace(option, default=False, model=RefineRequest) for option in found)


def _options(
    model: type[BaseModel], *, switches: Collection[str], arguments: Collection[str]
) -> Iterator[SpecOption]:
    """An option per field.

    Args:
        switches: nested models that an option of their own turns on, with nothing in them.
        arguments: fields that the command takes otherwise.
    """
    for name, field in model.model_fields.items():
        if name in arguments:
            continue
        kind = _required(field.annotation)
        if isinstance(kind, type) and issubclass(kind, BaseModel):
            if name in switches:
                yield SpecOption((name,), field, bool, None, lambda on: {} if on else None)
            for inner, inner_field in kind.model_fields.items():
                yield _option((name, inner), inner_field)
        else:
            yield _option((name,), field)


def collect(given: Mapping[str, Any], options: Iterable[SpecOption] | None = None) -> dict[str, Any]:
    """The fields of a spec out of what Typer has parsed; what was not given is left out.

    Args:
        options: those that were parsed; of the spec when absent.

    Raises:
        InvalidInput: a value cannot be read.
    """
    fields: dict[str, Any] = {}
    for option in spec_options() if options is None else options:
        value = given.get(option.name)
        if value is None or value == []:
            continue
        *above, last = option.path
        inside = fields
        for name in above:
            inside = inside.setdefault(name, {}) or inside.setdefault(name, {})
        try:
            inside[last] = option.read(value)
        except ValueError as error:
            raise InvalidInput(
                ".".join(option.path), f"cannot read {value!r}", option.metavar or ""
            ) from error
    return fields


def _option(path: tuple[str, ...], field: FieldInfo) -> SpecOption:
    kind = _required(field.annotation)
    if kind in (bool, int, float, str):
        return SpecOption(path, field, kind, None, lambda value: value)
    if get_origin(kind) is Literal:
        return SpecOption(path, field, str, "|".join(get_args(kind)), str)
    if isinstance(kind, type) and issubclass(kind, StrEnum):
        return SpecOption(path, field, str, "|".join(kind), str)
    return _gathered(path, field, kind)


def _gathered(path: tuple[str, ...], field: FieldInfo, kind: Any) -> SpecOption:
    """An option that holds several values in one word."""
    if get_origin(kind) is dict:
        return SpecOption(path, field, str, "KEY=VALUE", _pairs)
    if get_origin(kind) is tuple and Ellipsis not in get_args(kind):
        return SpecOption(path, field, str, "HEIGHTxWIDTH", _size)
    if LoraUse in get_args(kind):
        return SpecOption(
            path, field, str, "NAME=WEIGHT,...", lambda text: [_lora(part) for part in _list(text)]
        )
    return SpecOption(path, field, str, "A,B,...", _list)


def _list(text: str) -> list[str]:
    return [part.strip() for part in text.split(",")]


def _lora(text: str) -> dict[str, Any]:
    """`a=0.5`: a at half its strength; `a`: at all of it."""
    name, _, weight = text.partition("=")
    return {"name": name, **({"weight": float(weight)} if weight else {})}


def _required(annotation: Any) -> Any:
    """The type without `None` and without the constraints of `Annotated`."""
    if get_origin(annotation) is Annotated:
        return _required(get_args(annotation)[0])
    if get_origin(annotation) in (Union, types.UnionType):
        return _required(next(part for part in get_args(annotation) if part is not type(None)))
    return annotation


def _range(model: type[BaseModel], path: tuple[str, ...]) -> str:
    """What the schema allows for a field; of a list also what it allows inside."""
    if path[-1] in INPUT_FIELDS:
        return "or a file, which is uploaded"
    own = allowed(model, path).removeprefix("text of ").removeprefix("a list of ")
    if path == ("loras",):
        return f"{own}, weights {allowed(LoraUse, ('weight',))}"
    inside = allowed(model, (*path, 0)).removeprefix("text of ")
    return f"{own}, each {inside}" if inside else own.removeprefix("an object of ")


def _size(text: str) -> list[int]:
    height, _, width = text.replace(",", "x").partition("x")
    return [int(height), int(width)]


def _pairs(entries: list[str]) -> dict[str, str]:
    if not all("=" in entry for entry in entries):
        raise ValueError("no =")
    return dict(entry.split("=", 1) for entry in entries)
