"""Prompts that carry weights: what can be said of their syntax without the library that reads it.

The library imports torch, so only a worker has it. Refused here is what it would silently take for
plain words or drop, and what would take it long to read.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from latentfarm.errors import InvalidInput, NotSupported

if TYPE_CHECKING:
    from latentfarm.spec import RenderSpec

MAX_CHARS = 2_000
"""Of one prompt; reading takes about half a millisecond for each."""
MAX_DEPTH = 8
"""Parentheses inside of each other."""
MAX_WEIGHT = 10.0
"""More than that is noise long before; far beyond it numbers overflow."""
_MAX_PLUSES = 24
"""Each is a factor of 1.1: 24 of them are 9.8."""
_FIELDS = ("prompt", "prompt_2", "negative_prompt", "negative_prompt_2")
_LITERAL = 'a backslash before those that are meant literally: \\( \\) \\"'

_ESCAPED = re.compile(r"\\.", re.DOTALL)
_SWAP = re.compile(r"\.swap\s*\(")
_LORA = re.compile(r"(?:with|use)Lora\s*\(")
_JOIN = re.compile(r"\.(?:and|add|blend)\s*\(")
_JOINED = re.compile(r"\s*\(.*\)\s*\.(?:and|add|blend)\s*\([^()]*\)\s*", re.DOTALL)
_COLON = re.compile(r":\s*[\d.]+\s*\)")
_NUMBER = re.compile(r'[)"](\d+\.?\d*|\.\d+)|\.attend\s*\(\s*(\d+\.?\d*|\.\d+)')
_PLUSES = re.compile(rf"\+{{{_MAX_PLUSES + 1},}}")


def check_weighting(spec: RenderSpec) -> None:
    """Checks the prompts of a spec that asks for weights; of any other there is nothing to say.

    Raises:
        NotSupported: syntax for what is not built.
        InvalidInput: names the prompt and what is allowed.
    """
    if spec.prompt_weighting is None:
        return
    for field in _FIELDS:
        text = getattr(spec, field) or ""
        if len(text) > MAX_CHARS:
            raise InvalidInput(field, f"{len(text)} characters of prompt with weights", f"up to {MAX_CHARS}")
        bare = _ESCAPED.sub("  ", text)
        _check_operators(field, bare)
        _check_brackets(field, bare)
        _check_weights(field, bare)


def _check_operators(field: str, text: str) -> None:
    if _SWAP.search(text):
        raise NotSupported(field, ".swap() is not built", "the other words of compel's syntax")
    if _LORA.search(text):
        raise InvalidInput(field, "LoRAs are not taken from prompts", "the field loras")
    if _JOIN.search(text) and (len(_JOIN.findall(text)) > 1 or not _JOINED.fullmatch(text)):
        raise InvalidInput(
            field,
            ".and() and .blend() join whole prompts, once, with nothing before or after",
            '("a cat", "a dog").and(1, 0.5)',
        )
    if _COLON.search(text):
        raise InvalidInput(
            field, "(words:1.2) is the syntax of other tools", f"(words)1.2 in compel's; {_LITERAL}"
        )


def _check_brackets(field: str, text: str) -> None:
    if text.count('"') % 2:
        raise InvalidInput(field, "a quote is not closed", f"pairs; {_LITERAL}")
    depth = 0
    for character in text:
        depth += {"(": 1, ")": -1}.get(character, 0)
        if depth < 0:
            raise InvalidInput(field, "a parenthesis is closed that was not opened", f"pairs; {_LITERAL}")
        if depth > MAX_DEPTH:
            raise InvalidInput(field, "parentheses are nested too deep", f"up to {MAX_DEPTH} levels")
    if depth:
        raise InvalidInput(field, "a parenthesis is not closed", f"pairs; {_LITERAL}")


def _check_weights(field: str, text: str) -> None:
    allowed = f"0 to {MAX_WEIGHT:g}, or up to {_MAX_PLUSES} plus signs"
    for match in _NUMBER.finditer(text):
        number = match[1] or match[2]
        if float(number) > MAX_WEIGHT:
            raise InvalidInput(field, f"the weight {number} is too large", allowed)
    if _PLUSES.search(text):
        raise InvalidInput(field, "a weight is too large", allowed)
