"""A training set of pictures as latents, encoded once by the trained VAE."""

import random
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import numpy as np
import torch
from rich.progress import track
from safetensors.torch import load_file, save_file
from torch import Tensor

from training.picture import Plan, random_plan, render
from training.share import rank, wait_for_all

# How many of a hundred pictures have which (height, width): mostly native, some of every form.
_SIZES: Final = {
    (128, 128): 72,
    (64, 64): 5,
    (96, 128): 5,
    (128, 96): 5,
    (128, 192): 4,
    (192, 128): 4,
    (192, 192): 3,
    (256, 256): 2,
}
_NATIVE: Final = (128, 128)
BATCH: Final = 14  # pictures of native size; of others as many as have the same pixels


@dataclass(frozen=True)
class Shelf:
    """Pictures of one size: latents `[n, 4, h, w]`, scaled to unit variance, and their plans."""

    plans: list[Plan]
    latents: Tensor

    def clean(self) -> "Shelf":
        """The pictures without grain alone."""
        chosen = [index for index, plan in enumerate(self.plans) if plan.noise == 0]
        return Shelf([self.plans[index] for index in chosen], self.latents[chosen])


def encode_pictures(vae: Any, seed: int, count: int, cache: Path, coarse: float = 0.0) -> list[Shelf]:
    """About `count` pictures on one shelf per size; `cache` saves encoding them again.

    `coarse`: as for `random_plan`.
    """
    plans = {size: _plans(seed, size, max(1, count * share // 100), coarse) for size, share in _SIZES.items()}
    if rank() == 0 and not cache.exists():
        latents = {f"{size[0]}x{size[1]}": _encode(vae, shelf) for size, shelf in plans.items()}
        save_file(latents, cache)
    wait_for_all()
    stored = load_file(cache)
    return [Shelf(shelf, stored[f"{size[0]}x{size[1]}"]) for size, shelf in plans.items()]


def batches(shelves: list[Shelf], seed: int, numbers: range) -> Iterator[tuple[list[Plan], Tensor]]:
    """The batches of these numbers, of one size each; each depends on its number alone."""
    weights = [
        len(shelf.plans) * (1.0 if shelf.plans[0].target_size == _NATIVE else 0.4) for shelf in shelves
    ]
    for number in numbers:
        rng = random.Random(f"batch {seed} {number}")
        shelf = rng.choices(shelves, weights)[0]
        room = max(4, round(BATCH * 16 * 16 * 4 / shelf.latents[0].numel()))
        chosen = rng.sample(range(len(shelf.plans)), min(room, 2 * BATCH, len(shelf.plans)))
        yield [shelf.plans[index] for index in chosen], shelf.latents[chosen]


def _plans(seed: int, size: tuple[int, int], count: int, coarse: float) -> list[Plan]:
    names = (f"latents {seed} {size} {index}" for index in range(count))
    return [random_plan(random.Random(name), size, coarse) for name in names]


@torch.no_grad()
def _encode(vae: Any, plans: list[Plan]) -> Tensor:
    encoded = []
    group = max(1, 16 * 128 * 128 // (plans[0].target_size[0] * plans[0].target_size[1]))
    name = "encode {}x{}".format(*plans[0].target_size)
    for first in track(range(0, len(plans), group), description=name):
        pixels = np.stack([np.asarray(render(plan)) for plan in plans[first : first + group]])
        images = torch.from_numpy(pixels).permute(0, 3, 1, 2).float() / 127.5 - 1
        images = images.to(vae.device, memory_format=torch.channels_last)
        encoded.append((vae.encode(images).latent_dist.mean * vae.config.scaling_factor).cpu())
    return torch.cat(encoded).contiguous()
