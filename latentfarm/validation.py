"""Whether a spec fits a model, before anything is stored; and the defaults that the model decides."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

from latentfarm.adapters import check_adapters
from latentfarm.defaults import with_defaults
from latentfarm.errors import InvalidInput, NotSupported
from latentfarm.facts import facts_of
from latentfarm.mode_rules import check_mode, fill_mode
from latentfarm.sampling import check_sampling
from latentfarm.stages import check_stages
from latentfarm.weighting import check_weighting

if TYPE_CHECKING:
    from latentfarm.registry import ModelEntry
    from latentfarm.spec import RenderSpec

JPEG_PROMPT_CHARS = 3_500
"""Of all prompts together: a JPEG's EXIF holds 64 KiB, and the provenance must fit."""
PROMPTS = ("prompt", "prompt_2", "negative_prompt", "negative_prompt_2")
MAX_WORDS = 53_248
"""Bytes of all prompts and, twice, of the metadata, as JSON in UTF-8: the answer that shows a job stays below 64 KiB.

More than four prompts and 16 strings of full length take, unless their letters take several bytes each.
"""
_LETTER = 6
"""Bytes that one letter takes at most, as `\\u0001` does."""


def complete(spec: RenderSpec, entry: ModelEntry) -> RenderSpec:
    """The spec with every default that depends on model and mode filled in.

    One is left to `fit_pictures`, which knows the picture: the size of an image-to-image job.

    Args:
        spec: as the user sent it.
        entry: of the model that it names.

    Raises:
        NotSupported: a field whose feature is not built yet.
        InvalidInput: a value, or a combination, that this model or sampler cannot do; names the
            field and what is allowed.
    """
    _refuse_unbuilt(spec)
    check_prompts(spec)
    if spec.num_images > entry.max_images:
        raise InvalidInput("num_images", f"{spec.num_images} images in one job", f"1 to {entry.max_images}")
    spec = with_defaults(spec, entry)
    check_mode(spec, entry)
    filled = fill_mode(spec, entry).model_copy(update={"sampler": spec.sampler or entry.sampler})
    _check_size(filled, entry)
    _check_clip_skip(filled, entry)
    check_sampling(filled, entry)
    check_adapters(filled, entry)
    check_stages(filled, entry)
    return filled


def _refuse_unbuilt(spec: RenderSpec) -> None:
    if spec.output.format == "png" and spec.output.quality is not None:
        raise NotSupported("output.quality", "a PNG has no quality", "leave it out")


def check_prompts(spec: RenderSpec) -> None:
    """All of `complete` that reads prompts: specs that differ in these alone need the rest once.

    Raises:
        InvalidInput: names the prompt, or what has no room for it.
    """
    texts = {field: getattr(spec, field) or "" for field in PROMPTS}
    for field, text in texts.items():
        if "\0" in text:
            raise InvalidInput(field, "holds a NUL character")
    together = sum(len(text) for text in texts.values())
    if spec.output.format == "jpeg" and together > JPEG_PROMPT_CHARS:
        raise InvalidInput(
            "output.format",
            f"a JPEG has no room for the provenance of {together} characters of prompts",
            f"jpeg up to {JPEG_PROMPT_CHARS} characters; png, webp",
        )
    _check_words(spec, texts)
    check_weighting(spec)


def _check_words(spec: RenderSpec, texts: dict[str, str]) -> None:
    """Whether an answer has room for what the user wrote."""
    letters = sum(len(text) for text in texts.values()) + 2 * sum(
        len(k) + len(v) for k, v in spec.metadata.items()
    )
    if letters * _LETTER + 1_000 <= MAX_WORDS:
        return
    sizes = {field: _size(text) for field, text in texts.items()} | {"metadata": 2 * _size(spec.metadata)}
    together = sum(sizes.values())
    if together > MAX_WORDS:
        raise InvalidInput(
            max(sizes, key=lambda field: sizes[field]),
            f"prompts and metadata take {together} bytes together",
            f"{MAX_WORDS} bytes of JSON in UTF-8, metadata counted twice",
        )


def _size(value: str | dict[str, str]) -> int:
    return len(json.dumps(value, ensure_ascii=False, separators=(",", ":")).encode())


def _check_size(spec: RenderSpec, entry: ModelEntry) -> None:
    allowed = f"{entry.min_size} to {entry.max_size}, in steps of 8"
    for field in ("height", "width"):
        value = getattr(spec, field)
        if value is None:
            continue  # the picture's, which `fit_pictures` looks at
        if not entry.min_size <= value <= entry.max_size or value % 8:
            raise InvalidInput(field, f"{value} pixels do not fit model {entry.name}", allowed)


def _check_clip_skip(spec: RenderSpec, entry: ModelEntry) -> None:
    layers = facts_of(entry).encoder_layers
    if spec.clip_skip is not None and layers is not None and spec.clip_skip > layers - 1:
        raise InvalidInput("clip_skip", f"the encoders have {layers} layers", f"0 to {layers - 1}")
