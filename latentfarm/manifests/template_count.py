"""How many prompts a template gives, and what each takes, from its parsed tree: nothing is expanded."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any, NamedTuple

from latentfarm.errors import InvalidInput, NotSupported
from latentfarm.manifests.effort import parse_units

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

MAX_CHOICES = 100_000
"""Of one `{...}`: the library remembers all of them, to leave out those that come out equal."""
MAX_PARTS = 100_000
"""Parts of a template that are looked at, wildcards followed: variables that double each other have no end."""
_MANY = 10
"""Parts that one `{...}` may take at once: 10 in any order are 3,628,800."""
_EXACT = 10**18
_CACHED = 100
"""Wildcards whose values the library keeps sorted; with more it sorts them again and again."""
_COMPARED = 100
"""Variants that are looked at in a unit, where several are drawn of many."""
Parse = Callable[[str], Any]


class Extent(NamedTuple):
    """Prompts that a part of a template gives, and units for each of them, both at most."""

    prompts: int
    units: int


class _Values(NamedTuple):
    """The values of a wildcard: of each, of all (prompts together, most units of one), and units to parse them all."""

    each: list[Extent]
    whole: Extent
    parsing: int


@dataclass(frozen=True, slots=True)
class _Scope:
    """What holds at one place of a template.

    Attributes:
        drawn: whether one variant is drawn here rather than each taken.
        variables: by name; None: its value is taken once, where it is assigned.
    """

    drawn: bool
    variables: dict[str, Any] = field(default_factory=dict)


class Counter:
    """Counts templates over one set of wildcards.

    Args:
        parse: text -> tree of dynamicprompts.
        spend: told of the units that counting takes.
        drawn: whether variants are drawn unless a template says otherwise.
    """

    def __init__(
        self,
        wildcards: Mapping[str, tuple[str, ...]],
        parse: Parse,
        spend: Callable[[int], None],
        *,
        drawn: bool,
    ) -> None:
        # The library takes equal values once.
        self._wildcards = {name: tuple(dict.fromkeys(values)) for name, values in wildcards.items()}
        self._parse = parse
        self._spend = spend
        self._top = _Scope(drawn)
        self._known: dict[tuple[str, bool], _Values] = {}
        """What wildcards give where no variable can change it."""
        self._within: list[str] = []
        """Wildcards and variables that are being counted."""
        self._parts = 0

    def of(self, text: str) -> Extent:
        """What a template gives; one prompt where one is drawn.

        Raises:
            InvalidInput: an unknown wildcard or variable, one that names itself, or a part of too many choices.
            NotSupported: what the library can do and we do not let it.
        """
        self._parts, self._within = 0, []
        return self._count(self._parse(text), self._top)

    def _count(self, command: Any, scope: _Scope) -> Extent:
        self._parts += 1
        self._spend(1)
        if self._parts > MAX_PARTS:
            raise InvalidInput("prompt", "the template is too involved", f"up to {MAX_PARTS} parts")
        method = command.sampling_method
        if method is not None and not method.is_nonfinite() and scope.drawn:
            raise InvalidInput("prompt", "`!` takes each, where one is drawn", "~, @ or nothing")
        if method is not None and method.is_nonfinite():
            scope = replace(scope, drawn=True)
        prompts, units = self._walk(command, scope)
        # It was walked all the same, for what it names.
        return Extent(min(prompts, 1) if scope.drawn else prompts, units)

    def _walk(self, command: Any, scope: _Scope) -> Extent:
        match type(command).__name__:
            case "LiteralCommand":
                return Extent(1, 0)
            case "SequenceCommand":
                return self._sequence(command, scope)
            case "VariantCommand":
                return self._variants(command, scope)
            case "WildcardCommand":
                values = self._values(command, scope)
                again = len(values.each) if len(self._wildcards) > _CACHED else 0
                return Extent(values.whole.prompts, 1 + again + values.whole.units)
            case "WrapCommand":
                both = self._count(command.wrapper, scope), self._count(command.inner, scope)
                return Extent(both[0].prompts * both[1].prompts, 1 + both[0].units + both[1].units)
            case "VariableAccessCommand":
                return self._variable(command, scope)
        raise NotSupported("prompt", "an assignment stands alone", "a prompt beside it")

    def _sequence(self, command: Any, scope: _Scope) -> Extent:
        inside = dict(scope.variables)
        rest, units = [], 1
        for token in command.tokens:
            if type(token).__name__ == "VariableAssignmentCommand":
                if token.immediate:  # any other is counted where it is used
                    units += self._count(token.value, scope).units
                if token.overwrite or token.name not in inside:
                    inside[token.name] = None if token.immediate else token.value
            else:
                rest.append(token)
        found = [self._count(token, replace(scope, variables=inside)) for token in rest]
        return Extent(math.prod(one.prompts for one in found), units + sum(one.units for one in found))

    def _variants(self, command: Any, scope: _Scope) -> Extent:
        if len(command.values) == 1 and type(command.values[0]).__name__ == "WildcardCommand":
            # As the library has it: `{2$$__a__}` takes two of it.
            found = self._values(command.values[0], scope)
        else:
            found = _values_of([self._count(value, scope) for value in command.values])
        units = 1 + found.parsing
        counts = [one.prompts for one in found.each]
        most, fewest = min(command.max_bound, len(counts)), min(command.min_bound, len(counts))
        units += most * (1 + found.whole.units)
        if scope.drawn:
            return Extent(1, units + most * len(counts) // _COMPARED)
        self._spend(min(most, _MANY) * len(counts) // _COMPARED)
        if most >= _MANY or (chosen := _selections(counts, fewest, most)) > MAX_CHOICES:
            shown = f"{most} of {len(counts)} in any order" if most >= _MANY else f"{shorten(chosen)} choices"
            raise InvalidInput("prompt", f"one part has {shown}", f"up to {MAX_CHOICES} choices in a {{...}}")
        return Extent(chosen, units)

    def _values(self, command: Any, scope: _Scope) -> _Values:
        """Of each value of a wildcard, which the library parses whenever it takes one."""
        name = command.wildcard
        if not isinstance(name, str):
            raise NotSupported("prompt", "the name of a wildcard is made of a variable", "a plain name")
        if name not in self._wildcards:
            known = ", ".join(f"__{one}__" for one in sorted(self._wildcards)[:20])
            raise InvalidInput("prompt", f"unknown wildcard __{name[:64]}__", known or "none: see wildcards")
        inside = replace(scope, variables={**scope.variables, **command.variables})
        if not inside.variables and (name, scope.drawn) in self._known:
            return self._known[name, scope.drawn]
        texts = self._wildcards[name]
        found = _values_of(
            self._nested(f"__{name}__", lambda: [self._value(text, inside) for text in texts]), texts
        )
        if not inside.variables:
            self._known[name, scope.drawn] = found
        return found

    def _value(self, text: str, scope: _Scope) -> Extent:
        prompts, units = self._count(self._parse(text), scope)
        return Extent(prompts, units + parse_units(text))

    def _variable(self, command: Any, scope: _Scope) -> Extent:
        value = scope.variables.get(command.name, command.default)
        if value is None and command.name in scope.variables:
            return Extent(1, 1)
        if value is None:
            raise InvalidInput("prompt", f"no variable ${{{command.name}}}", f"${{{command.name}=...}} first")
        return self._nested(f"${{{command.name}}}", lambda: [self._count(value, scope)])[0]

    def _nested(self, name: str, count: Callable[[], list[Extent]]) -> list[Extent]:
        if name in self._within:
            raise InvalidInput("prompt", f"{name} names itself", "no circles")
        self._within.append(name)
        found = count()
        self._within.pop()
        return found


def _values_of(each: list[Extent], texts: Sequence[str] = ()) -> _Values:
    """Added up once: a wildcard of many values may be named in a million rows."""
    whole = Extent(sum(one.prompts for one in each), max((one.units for one in each), default=0))
    return _Values(each, whole, len(texts) + sum(map(parse_units, texts)))


def shorten(count: int) -> str:
    """A count in words that stay short."""
    return str(count) if count <= _EXACT else "over 10^18"


def _selections(counts: Sequence[int], fewest: int, most: int) -> int:
    """Ordered choices of `fewest` to `most` of the variants, each in any of its forms."""
    sums = [1] + [0] * most
    for count in counts:
        for size in range(most, 0, -1):
            sums[size] += sums[size - 1] * count
    return sum(math.factorial(size) * sums[size] for size in range(fewest, most + 1))
