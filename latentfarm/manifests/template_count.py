"""How many prompts a template gives, from its parsed tree: products and sums, and nothing is expanded."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

from latentfarm.errors import InvalidInput, NotSupported

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

MAX_CHOICES = 100_000
"""Of one `{...}`: the library remembers all of them, to leave out those that come out equal."""
MAX_PARTS = 100_000
"""Parts of a template that are looked at, wildcards followed: variables that double each other have no end."""
_MANY = 10
"""Parts that one `{...}` may take at once: 10 in any order are 3,628,800."""
_EXACT = 10**18
Parse = Callable[[str], Any]


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
        drawn: whether variants are drawn unless a template says otherwise.
    """

    def __init__(self, wildcards: Mapping[str, tuple[str, ...]], parse: Parse, *, drawn: bool) -> None:
        # The library takes equal values once.
        self._wildcards = {name: tuple(dict.fromkeys(values)) for name, values in wildcards.items()}
        self._parse = parse
        self._top = _Scope(drawn)
        self._known: dict[tuple[str, bool], list[int]] = {}
        """What wildcards give where no variable can change it."""
        self._within: list[str] = []
        """Wildcards and variables that are being counted."""
        self._parts = 0

    def of(self, text: str) -> int:
        """Prompts of a template, at most; 1 where one is drawn.

        Raises:
            InvalidInput: an unknown wildcard or variable, one that names itself, or a part of too many choices.
            NotSupported: what the library can do and we do not let it.
        """
        self._parts, self._within = 0, []
        return self._count(self._parse(text), self._top)

    def _count(self, command: Any, scope: _Scope) -> int:
        self._parts += 1
        if self._parts > MAX_PARTS:
            raise InvalidInput("prompt", "the template is too involved", f"up to {MAX_PARTS} parts")
        method = command.sampling_method
        if method is not None and not method.is_nonfinite() and scope.drawn:
            raise InvalidInput("prompt", "`!` takes each, where one is drawn", "~, @ or nothing")
        if method is not None and method.is_nonfinite():
            scope = replace(scope, drawn=True)
        count = self._walk(command, scope)
        # It was walked all the same, for what it names.
        return min(count, 1) if scope.drawn else count

    def _walk(self, command: Any, scope: _Scope) -> int:
        match type(command).__name__:
            case "LiteralCommand":
                return 1
            case "SequenceCommand":
                return self._sequence(command, scope)
            case "VariantCommand":
                return self._variants(command, scope)
            case "WildcardCommand":
                return sum(self._values(command, scope))
            case "WrapCommand":
                return self._count(command.wrapper, scope) * self._count(command.inner, scope)
            case "VariableAccessCommand":
                return self._variable(command, scope)
        raise NotSupported("prompt", "an assignment stands alone", "a prompt beside it")

    def _sequence(self, command: Any, scope: _Scope) -> int:
        inside = dict(scope.variables)
        rest = []
        for token in command.tokens:
            if type(token).__name__ == "VariableAssignmentCommand":
                if token.immediate:
                    self._count(token.value, scope)  # any other is counted where it is used
                if token.overwrite or token.name not in inside:
                    inside[token.name] = None if token.immediate else token.value
            else:
                rest.append(token)
        return math.prod(self._count(token, replace(scope, variables=inside)) for token in rest)

    def _variants(self, command: Any, scope: _Scope) -> int:
        values = command.values
        if len(values) == 1 and type(values[0]).__name__ == "WildcardCommand":
            counts = self._values(values[0], scope)  # as the library has it: `{2$$__a__}` takes two of it
        else:
            counts = [self._count(value, scope) for value in values]
        if scope.drawn:
            return 1
        most, fewest = min(command.max_bound, len(counts)), min(command.min_bound, len(counts))
        if most >= _MANY or (found := _selections(counts, fewest, most)) > MAX_CHOICES:
            shown = f"{most} of {len(counts)} in any order" if most >= _MANY else f"{shorten(found)} choices"
            raise InvalidInput("prompt", f"one part has {shown}", f"up to {MAX_CHOICES} choices in a {{...}}")
        return found

    def _values(self, command: Any, scope: _Scope) -> list[int]:
        name = command.wildcard
        if not isinstance(name, str):
            raise NotSupported("prompt", "the name of a wildcard is made of a variable", "a plain name")
        if name not in self._wildcards:
            known = ", ".join(f"__{one}__" for one in sorted(self._wildcards)[:20])
            raise InvalidInput("prompt", f"unknown wildcard __{name[:64]}__", known or "none: see wildcards")
        inside = replace(scope, variables={**scope.variables, **command.variables})
        if not inside.variables and (name, scope.drawn) in self._known:
            return self._known[name, scope.drawn]
        counts = self._nested(
            f"__{name}__", lambda: [self._count(self._parse(text), inside) for text in self._wildcards[name]]
        )
        if not inside.variables:
            self._known[name, scope.drawn] = counts
        return counts

    def _variable(self, command: Any, scope: _Scope) -> int:
        value = scope.variables.get(command.name, command.default)
        if value is None and command.name in scope.variables:
            return 1
        if value is None:
            raise InvalidInput("prompt", f"no variable ${{{command.name}}}", f"${{{command.name}=...}} first")
        return self._nested(f"${{{command.name}}}", lambda: [self._count(value, scope)])[0]

    def _nested(self, name: str, count: Callable[[], list[int]]) -> list[int]:
        if name in self._within:
            raise InvalidInput("prompt", f"{name} names itself", "no circles")
        self._within.append(name)
        found = count()
        self._within.pop()
        return found


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
