"""The files that docs/guide.md takes for granted, made out of tiny: a checkpoint, LoRAs, a learned word."""

from __future__ import annotations

import random
import shutil
from typing import TYPE_CHECKING, Any, Final

import torch
from diffusers import StableDiffusionXLPipeline
from safetensors.torch import save_file

from training.export import single_file
from training.scene import caption, random_scene

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

_RANK: Final = 4
_CAPTIONS: Final = 60
_RIDGE: Final = 0.1


def lay_out(folder: Path, tiny: Path) -> None:
    """Puts all files where the page expects them below `folder`."""
    base: Any = StableDiffusionXLPipeline.from_pretrained(
        tiny / "base", local_files_only=True, add_watermarker=False
    )
    for name in ("checkpoints", "configs", "embeddings", "loras"):
        (folder / name).mkdir(parents=True)
    (folder / "configs" / "sdxl-base").symlink_to(tiny / "base")
    save_file(single_file(base), folder / "checkpoints" / "mine.safetensors")
    shutil.copyfile(
        tiny / "base" / "unet" / "diffusion_pytorch_model.safetensors",
        folder / "checkpoints" / "sdxl_lightning_4step_unet.safetensors",
    )
    save_file(learned_word(base, "striped style"), folder / "embeddings" / "stripes.safetensors")
    save_file(recolouring(base, "red", "blue"), folder / "loras" / "blue-for-red.safetensors")
    save_file(recolouring(base, "red", "red"), folder / "loras" / "lcm-lora-sdxl.safetensors")


def learned_word(base: Any, words: str) -> dict[str, torch.Tensor]:
    """A textual inversion that means some words of the vocabulary: a row for each, in both encoders."""
    found = {}
    for key, encoder, tokenizer in (
        ("clip_l", base.text_encoder, base.tokenizer),
        ("clip_g", base.text_encoder_2, base.tokenizer_2),
    ):
        ids = tokenizer(words, add_special_tokens=False).input_ids
        found[key] = encoder.get_input_embeddings().weight.detach()[ids].clone()
    return found


def recolouring(base: Any, before: str, after: str) -> dict[str, torch.Tensor]:
    """A LoRA for the UNet that reads one colour as another.

    No training: the map of text states that turns captions of the one colour into captions of the other,
    and leaves other captions alone, is solved for by least squares, cut down to rank 4, and put in front of
    the layers that look at the text. With one colour twice it is a LoRA that does nothing.
    """
    rng = random.Random(1)
    captions = [caption(random_scene(rng)) for _ in range(10 * _CAPTIONS)]
    told = [text for text in captions if text.count(f" {before} ") == 1][:_CAPTIONS]
    others = [text for text in captions if before not in text][: 2 * _CAPTIONS]
    wanted = [text.replace(f" {before} ", f" {after} ") for text in told]
    source, target = _states(base, told), _states(base, wanted)
    kept = _states(base, [*others, *wanted])
    given = torch.cat([source, kept])
    change = torch.cat([target - source, torch.zeros_like(kept)])
    square = given.T @ given + _RIDGE * torch.eye(given.shape[1], dtype=given.dtype)
    left, sizes, right = torch.linalg.svd(torch.linalg.solve(square, given.T @ change).T)
    down = (sizes[:_RANK, None] * right[:_RANK]).float()
    up = left[:, :_RANK].float()
    tensors = {}
    for name, layer in base.unet.named_modules():
        if name.endswith(("attn2.to_k", "attn2.to_v")):
            tensors[f"unet.{name}.lora_A.weight"] = down.clone(memory_format=torch.contiguous_format)
            tensors[f"unet.{name}.lora_B.weight"] = (layer.weight.detach() @ up).contiguous()
    return tensors


def _states(base: Any, captions: Sequence[str]) -> torch.Tensor:
    """What the UNet sees of some captions: `[77 * captions, width]`, float64."""
    with torch.no_grad():
        found: torch.Tensor = base.encode_prompt(list(captions), do_classifier_free_guidance=False)[0]
    return found.flatten(0, 1).double()
