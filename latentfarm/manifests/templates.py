"""Prompts as templates: `{red|blue} __animal__`, in the language of dynamicprompts, never its Jinja mode.

What a template gives is counted on its parsed tree before anything is made of it.
"""

from __future__ import annotations

import dataclasses
import hashlib
import re
from functools import cached_property, lru_cache
from random import Random
from typing import TYPE_CHECKING, Any

from latentfarm.errors import InvalidInput
from latentfarm.manifests.template_count import Counter, Extent, shorten
from latentfarm.spec import MAX_PROMPT_CHARS

if TYPE_CHECKING:
    from collections.abc import Iterator

    from latentfarm.manifests.effort import Effort
    from latentfarm.manifests.request import DatasetRequest

MAX_PROMPTS = 1_000_000
"""That one template may give."""
MAX_DEPTH = 8
"""Braces inside of each other: the parser tries several ways at each."""
_SPECIAL = re.compile(r"[{}$%#]|__|/\*")
"""What a prompt without any of these says is what it is."""
_EXPANDING = (RecursionError, ValueError, LookupError, RuntimeError, AssertionError)
"""What the library raises of templates that it cannot take after all."""


class Templates:
    """Makes prompts of templates, as a request asks for.

    Args:
        seed: of the run.
        effort: what its manifest may take.
    """

    def __init__(self, request: DatasetRequest, seed: int, effort: Effort) -> None:
        self._request = request
        self._seed = seed
        self._drawn = request.template == "random"
        self._effort = effort
        self._parse = lru_cache(maxsize=64)(
            effort.parsing(_parsed)
        )  # a tree takes megabytes where it is long
        self._counter = Counter(request.wildcards, self._parse, effort.spend, drawn=self._drawn)
        self._counted = lru_cache(maxsize=4_096)(self._counter.of)

    def count(self, text: str) -> int:
        """How many prompts a template gives; at most, where variants come out equal. Makes none of them.

        Raises:
            InvalidInput: no template, an unknown wildcard, more than `MAX_PROMPTS`, or too much to look through.
        """
        return self._extent(text).prompts

    def _extent(self, text: str) -> Extent:
        if self._request.template == "off":
            return Extent(1, 0)
        if len(text) > MAX_PROMPT_CHARS:  # before it is parsed, which takes long
            raise InvalidInput("prompt", f"{len(text)} characters", f"up to {MAX_PROMPT_CHARS}")
        found, units = self._counted(text) if _SPECIAL.search(text) else (1, 0)
        if self._drawn:
            return Extent(self._request.template_samples, units)
        if found > MAX_PROMPTS:
            message = f"the template gives {shorten(found)} prompts"
            raise InvalidInput("prompt", message, f"up to {MAX_PROMPTS} of one row")
        return Extent(found, units)

    def expand(self, text: str, row: int) -> Iterator[str]:
        """The prompts of a template that `count` has taken.

        Args:
            row: where the row stands among all, so that equal templates do not draw the same.

        Raises:
            InvalidInput: the library cannot take it after all, or all of it would take too long.
        """
        count, units = self._extent(text)
        if self._request.template == "off":
            yield text
            return
        self._effort.spend(count * (1 + units))
        if not _SPECIAL.search(text):
            yield from (text for _ in range(count))
            return
        material = f"{self._seed} {row} {text}".encode()
        rand = Random(hashlib.sha256(material).digest())  # noqa: S311 - what is drawn is a prompt
        context = dataclasses.replace(self._context, rand=rand)
        try:
            for result in context.sample_prompts(self._parse(text), count):
                yield str(result)
        except _EXPANDING as error:
            raise InvalidInput("prompt", f"the template cannot be expanded: {str(error)[:100]}") from error

    @cached_property
    def _context(self) -> Any:
        """What the library knows of the run; each row gets a generator of its own."""
        from dynamicprompts.enums import SamplingMethod
        from dynamicprompts.sampling_context import SamplingContext
        from dynamicprompts.wildcards import WildcardManager

        named: dict[str, Any] = {name: list(values) for name, values in self._request.wildcards.items()}
        return SamplingContext(
            default_sampling_method=SamplingMethod.RANDOM if self._drawn else SamplingMethod.COMBINATORIAL,
            wildcard_manager=WildcardManager(root_map={"": [named]}),
        )


def _parsed(text: str) -> Any:
    """A template's tree.

    Raises:
        InvalidInput: it cannot be read.
    """
    from dynamicprompts.parser.parse import parse
    from pyparsing import ParseBaseException

    _check_depth(text)
    try:
        return parse(text)
    except ParseBaseException as error:
        message = f"the template cannot be read at character {error.loc + 1}"
        raise InvalidInput("prompt", message, "{a|b}, {2$$a|b|c}, __name__") from error
    except (AssertionError, RecursionError, ValueError) as error:
        raise InvalidInput("prompt", f"the template cannot be read: {str(error)[:100]}") from error


def _check_depth(text: str) -> None:
    depth = 0
    for character in text:
        depth += {"{": 1, "}": -1}.get(character, 0)
        if depth > MAX_DEPTH:
            raise InvalidInput("prompt", "braces are nested too deep", f"up to {MAX_DEPTH} levels")
    if depth > 0:
        raise InvalidInput("prompt", "a brace is not closed", "pairs of { and }")
