"""A prompt in compel's syntax -> the parts that it is made of, within what the farm takes on."""

from __future__ import annotations

import functools
from typing import TYPE_CHECKING, Any

from latentfarm.errors import SpecError
from latentfarm.weighting import MAX_WEIGHT

if TYPE_CHECKING:
    from collections.abc import Sequence

_OPERATORS = (".and(", ".add(", ".attend(", ".blend(", ".swap(")
_CANCELLED = 0.01
"""Weights of a blend are divided by their sum."""


@functools.lru_cache(maxsize=64)
def parts_of(field: str, text: str) -> Any:
    """Remembered, since the images of a job say the same: a `compel.prompt_parser.Conjunction`, whose prompts are flat or blends of flat ones.

    What `latentfarm.weighting` refuses at submit is refused here too where it matters, and with it
    what only a parser sees.

    Args:
        field: for the complaint.

    Raises:
        SpecError: says what cannot be read, or is out of range.
    """
    try:
        parts = _parser().parse_conjunction(text)
    except Exception as error:
        raise SpecError(f"{field}: compel cannot read it: {error}") from error
    if parts.lora_weights:
        raise SpecError(f"{field}: LoRAs are not taken from prompts but from the field loras")
    if not parts.prompts:
        raise SpecError(f"{field}: holds parentheses and no words")
    _check(field, "and", parts.weights)
    for prompt in parts.prompts:
        if hasattr(prompt, "prompts"):
            _check(field, "blend", prompt.weights)
            if prompt.normalize_weights and abs(sum(prompt.weights)) < _CANCELLED:
                raise SpecError(f"{field}: the weights of blend cancel each other out")
        for flat in flat_prompts(prompt):
            _tidy(field, flat)
    return parts


def flat_prompts(prompt: Any) -> Sequence[Any]:
    """Those that a blend is made of, or the prompt itself, which is flat then."""
    flats: Sequence[Any] = getattr(prompt, "prompts", (prompt,))
    return flats


@functools.cache
def _parser() -> Any:
    """Without its memory (`packrat`) the parser takes time exponential in the depth of parentheses."""
    import pyparsing
    from compel.prompt_parser import PromptParser

    pyparsing.ParserElement.enable_packrat(cache_size_limit=None)
    return PromptParser()


def _check(field: str, operator: str, weights: list[float]) -> None:
    for weight in weights:
        if not abs(weight) <= MAX_WEIGHT:
            raise SpecError(f"{field}: the weight {weight:g} of {operator} is beyond {MAX_WEIGHT:g}")


def _tidy(field: str, flat: Any) -> None:
    """Checks the fragments of a flat prompt, and drops those without words: compel trips over their weights."""
    for fragment in flat.children:
        if not hasattr(fragment, "text"):
            raise SpecError(f"{field}: .swap() is not built")
        if not 0 <= fragment.weight <= MAX_WEIGHT:
            raise SpecError(f"{field}: the weight {fragment.weight:g} is not from 0 to {MAX_WEIGHT:g}")
        found = [operator for operator in _OPERATORS if operator in fragment.text]
        if found:
            raise SpecError(
                f"{field}: compel takes {found[0]}...) for words: it stands where it has no effect"
            )
    worded = [fragment for fragment in flat.children if fragment.text.strip()]
    if not worded:
        worded = flat.children[:1]
        for nothing in worded:
            nothing.weight = 1.0
    flat.children = worded
