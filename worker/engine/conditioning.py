"""Prompts and sizes -> what the UNet is conditioned on. Stock's own methods, with stock's defaults."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

import torch

from latentfarm.modes import Mode, mode_of
from latentfarm.states import Stage
from worker.engine.prompts import encode

if TYPE_CHECKING:
    from latentfarm.spec import RenderSpec
    from worker.engine.model import LoadedModel


# What stock's pipelines say when nobody does; a base is not listening.
_STOCK_SCORES = (6.0, 2.5)


class Conditioning(NamedTuple):
    """Rows are the negative branch, when there is one, then the positive one.

    Attributes:
        prompt_embeds: `[rows, tokens, width]`.
        pooled_embeds: `[rows, width]`.
        time_ids: `[rows, 6]`, or `[rows, 5]` where aesthetic scores take the place of the target size.
        guidance_embed: `[1, width]`, or None.
    """

    prompt_embeds: torch.Tensor
    pooled_embeds: torch.Tensor
    time_ids: torch.Tensor
    guidance_embed: torch.Tensor | None


def condition(
    pipe: Any,
    model: LoadedModel,
    spec: RenderSpec,
    stage: Stage,
    guidance: float,
    size: tuple[int, int],
) -> Conditioning:
    """Encodes the prompts of a spec and sets up its size conditioning.

    Args:
        size: what the latents decode to, `(height, width)`: what stock takes for sizes left out.

    The refiner is told the same prompts and sizes as the base: what two pipeline calls with the
    same arguments would be. It has one tokenizer, so the second prompts have no effect on it.
    """
    guided = guidance > 1 and pipe.unet.config.time_cond_proj_dim is None
    positive, negative, pooled, negative_pooled = encode(pipe, model, spec, stage, guided=guided)
    ids, negative_ids = _time_ids(pipe, spec, stage, positive.dtype, _projection_width(pipe, pooled), size)
    if negative is not None and negative_pooled is not None:
        positive = torch.cat([negative, positive])
        pooled = torch.cat([negative_pooled, pooled])
        ids = torch.cat([negative_ids, ids])
    place = model.device
    embed = _guidance_embed(pipe, guidance, model)
    # The text encoders may be held in another precision than the UNet.
    return Conditioning(positive.to(place, model.dtype), pooled.to(place, model.dtype), ids.to(place), embed)


def _projection_width(pipe: Any, pooled: torch.Tensor) -> int:
    if pipe.text_encoder_2 is None:
        return int(pooled.shape[-1])
    return int(pipe.text_encoder_2.config.projection_dim)


def _time_ids(
    pipe: Any, spec: RenderSpec, stage: Stage, dtype: torch.dtype, width: int, size: tuple[int, int]
) -> tuple[torch.Tensor, torch.Tensor]:
    original, target = tuple(spec.original_size or size), tuple(spec.target_size or size)
    crops = tuple(spec.crops_coords_top_left or (0, 0))
    negative_crops = tuple(spec.negative_crops_coords_top_left or (0, 0))
    shared = {"dtype": dtype, "text_encoder_projection_dim": width}
    time_ids = pipe._get_add_time_ids  # noqa: SLF001 - stock's own arithmetic
    if mode_of(spec) is Mode.TEXT and stage is Stage.BASE:
        ids = time_ids(original, crops, target, **shared)
        if spec.negative_original_size is None or spec.negative_target_size is None:
            return ids, ids  # stock: one of the two alone, or the negative crop alone, has no effect
        negative = (tuple(spec.negative_original_size), negative_crops, tuple(spec.negative_target_size))
        return ids, time_ids(*negative, **shared)
    # The other two pipelines take all of it at once, and each negative size falls back alone.
    told = spec.refiner if stage is Stage.REFINE else None
    scores = (told.aesthetic_score, told.negative_aesthetic_score) if told else _STOCK_SCORES
    ids, negative_ids = time_ids(
        original,
        crops,
        target,
        *scores,
        tuple(spec.negative_original_size or original),
        negative_crops,
        tuple(spec.negative_target_size or target),
        **shared,
    )
    return ids, negative_ids


def _guidance_embed(pipe: Any, guidance: float, model: LoadedModel) -> torch.Tensor | None:
    width = pipe.unet.config.time_cond_proj_dim
    if width is None:
        return None
    embed: torch.Tensor = pipe.get_guidance_scale_embedding(torch.tensor(guidance - 1).repeat(1), width)
    return embed.to(device=model.device, dtype=model.dtype)


def cut_warnings(pipe: Any, model: LoadedModel, spec: RenderSpec) -> tuple[str, ...]:
    """One sentence for each prompt of the spec that is not read to its end.

    With weights only the pooled embedding leaves something out.
    """
    found = []
    tokenizer = pipe.tokenizer or pipe.tokenizer_2
    limit = tokenizer.model_max_length
    for field, text in _texts(pipe, spec).items():
        # Each token stands for one character at least: short texts need no counting. But a token of
        # an embedding may stand for several rows.
        if text is None or (len(text) <= limit - 2 and not spec.embeddings):
            continue
        with model.encoding:
            text = pipe.maybe_convert_prompt(text, tokenizer)  # noqa: PLW2901 - as the encoders read it
            count = len(tokenizer(text, verbose=False).input_ids)
        if count > limit and spec.prompt_weighting:
            found.append(f"{field}: the pooled embedding was made of {limit} of {count} tokens")
        elif count > limit:
            found.append(f"{field} was cut: {count} tokens where the encoder reads {limit}")
    return tuple(found)


def _texts(pipe: Any, spec: RenderSpec) -> dict[str, str | None]:
    """What the encoders read, or with weights what becomes of the pooled embedding."""
    if pipe.tokenizer is None:  # a refiner: the second prompts have no effect on it
        return {"prompt": spec.prompt, "negative_prompt": spec.negative_prompt}
    texts = {
        "prompt": spec.prompt,
        "prompt_2": spec.prompt_2,
        "negative_prompt": spec.negative_prompt,
        "negative_prompt_2": spec.negative_prompt_2,
    }
    if not spec.prompt_weighting:
        return texts
    pooled = {"prompt_2" if spec.prompt_2 else "prompt"}
    if spec.negative_prompt is not None:
        pooled.add("negative_prompt_2" if spec.negative_prompt_2 else "negative_prompt")
    return {field: text for field, text in texts.items() if field in pooled}
