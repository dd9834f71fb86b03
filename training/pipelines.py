"""Assemble the parts into the two pipelines, as the hub's SDXL folders have them."""

from pathlib import Path
from typing import Any

from diffusers import StableDiffusionXLImg2ImgPipeline, StableDiffusionXLPipeline

from training.architecture import Pair, make_pair, make_scheduler
from training.tokenizer import make_tokenizer, save_tokenizer
from training.words import vocabulary


def build(seed: int) -> Pair:
    """Both pipelines' parts, untrained, from a seed."""
    return make_pair(len(make_tokenizer(vocabulary())), seed)


def base_pipeline(pair: Pair) -> StableDiffusionXLPipeline:
    """The base stage: two encoders, empty negative prompts are zeros."""
    return StableDiffusionXLPipeline(
        vae=pair.vae,
        text_encoder=pair.text_encoder,
        text_encoder_2=pair.text_encoder_2,
        tokenizer=make_tokenizer(vocabulary()),
        tokenizer_2=make_tokenizer(vocabulary(), pad="!"),
        unet=pair.base,
        scheduler=make_scheduler(),
        force_zeros_for_empty_prompt=True,
        add_watermarker=False,
    )


def refiner_pipeline(pair: Pair) -> StableDiffusionXLImg2ImgPipeline:
    """The refiner stage: the second encoder alone, aesthetic scores in its time ids."""
    return StableDiffusionXLImg2ImgPipeline(
        vae=pair.vae,
        text_encoder=None,
        text_encoder_2=pair.text_encoder_2,
        tokenizer=None,
        tokenizer_2=make_tokenizer(vocabulary(), pad="!"),
        unet=pair.refiner,
        scheduler=make_scheduler(),
        requires_aesthetics_score=True,
        force_zeros_for_empty_prompt=False,
        add_watermarker=False,
    )


def save_pair(pair: Pair, folder: Path) -> None:
    """Write `base` and `refiner` under `folder`, float32 safetensors."""
    pipelines: dict[str, Any] = {"base": base_pipeline(pair), "refiner": refiner_pipeline(pair)}
    for name, pipeline in pipelines.items():
        pipeline.save_pretrained(folder / name, safe_serialization=True)
        for part in ("tokenizer", "tokenizer_2"):
            if getattr(pipeline, part) is not None:
                save_tokenizer(getattr(pipeline, part), folder / name / part)


def load_pair(folder: Path) -> Pair:
    """Read both pipelines back. Raises OSError when a file is missing."""
    base = StableDiffusionXLPipeline.from_pretrained(
        folder / "base", local_files_only=True, use_safetensors=True, add_watermarker=False
    )
    refiner = StableDiffusionXLImg2ImgPipeline.from_pretrained(
        folder / "refiner", local_files_only=True, use_safetensors=True, add_watermarker=False
    )
    return Pair(base.text_encoder, base.text_encoder_2, base.vae, base.unet, refiner.unet)
