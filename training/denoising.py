"""Train the two UNets to tell the noise in latents; the encoders stay as they are, as for SDXL."""

import random
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final

import torch
from torch import Tensor, nn

from training.architecture import Pair, make_scheduler
from training.latents import Shelf, batches
from training.loop import Course, fit
from training.picture import Plan, random_captions
from training.share import processes
from training.text import Conditioning, TextReader

BASE_COURSE: Final = Course(steps=14_000, rate=1.5e-3, average=0.999)
# Afterwards, on pictures many of which are coarse: only then does `original_size` say what they show.
COARSE_COURSE: Final = Course(steps=3000, rate=1.2e-3, average=0.995)
COARSE_SHARE: Final = 0.4
REFINER_COURSE: Final = Course(steps=3000, rate=1.5e-3, average=0.998)
REFINER_SHARE: Final = 200  # timesteps: the low-noise fifth of the schedule
# From here on errors count as they would for a net that predicts "velocity": what is decided where
# noise is strong, place and ground and colour, weighs next to nothing in the plain error.
_PLAIN_STEPS: Final = 600
_HEAVIEST: Final = 25.0
_EMPTY: Final = 0.1  # of the captions, for guidance
# Noise that a whole channel shares, as SDXL was trained with: without it the mean of a picture shines
# through the strongest noise of the schedule, and a sampler that starts from pure noise gets grey grounds.
_OFFSET: Final = 0.1
Batch = tuple[list[Plan], Tensor]


def train_base(
    pair: Pair,
    shelves: list[Shelf],
    seed: int,
    checkpoint: Path,
    course: Course = BASE_COURSE,
    plain: int = _PLAIN_STEPS,
) -> float:
    """Train the base UNet on all timesteps; returns the last tenth's mean loss.

    In the first `plain` steps all errors count alike.
    """
    reader = TextReader(pair)

    def condition(plans: list[Plan], rng: random.Random) -> tuple[Conditioning, Tensor]:
        captions = [random_captions(plan.scene, rng) for plan in plans]
        luck = [rng.random() for _ in plans]
        # An absent negative prompt is zeros, an empty one is encoded: both must mean "anything".
        told = [("", "") if one < _EMPTY * 0.3 else said for said, one in zip(captions, luck, strict=True)]
        with torch.no_grad():
            text = reader.for_base([first for first, _ in told], [second for _, second in told])
        zeros = torch.tensor([_EMPTY * 0.3 <= one < _EMPTY for one in luck], device=text.pooled.device)
        time_ids = [[*plan.original_size, *plan.crop, *plan.target_size] for plan in plans]
        return text.zeroed(zeros), torch.tensor(time_ids, dtype=torch.float32)

    # The base is told no aesthetic score: what it could not be told apart by, it must not learn.
    clean = [kept for shelf in shelves if (kept := shelf.clean()).plans]  # a trial's may be empty
    return _train(pair.base, clean, seed, condition, 1000, course, checkpoint, plain)


def train_refiner(
    pair: Pair, shelves: list[Shelf], seed: int, checkpoint: Path, course: Course = REFINER_COURSE
) -> float:
    """Train the refiner on the low-noise fifth, told how clean each picture is."""
    reader = TextReader(pair)

    def condition(plans: list[Plan], rng: random.Random) -> tuple[Conditioning, Tensor]:
        prompts = [random_captions(plan.scene, rng)[0] if rng.random() >= _EMPTY else "" for plan in plans]
        with torch.no_grad():
            text = reader.for_refiner(prompts)
        time_ids = [[*plan.original_size, *plan.crop, plan.score] for plan in plans]
        return text, torch.tensor(time_ids, dtype=torch.float32)

    return _train(pair.refiner, shelves, seed, condition, REFINER_SHARE, course, checkpoint)


def _noise(clean: Tensor, chance: torch.Generator) -> Tensor:
    """Noise of unit variance for latents `[n, 4, h, w]`, and a little that each channel shares."""
    shared = torch.randn(*clean.shape[:2], 1, 1, generator=chance)
    return torch.randn(clean.shape, generator=chance) + _OFFSET * shared


def _weights(kept: Tensor) -> Tensor:
    """Weight of each sample's error, about 1 on average over the schedule; `kept` is alpha-bar `[n]`."""
    return (1 / kept).clamp(max=_HEAVIEST) / 8


def _train(
    unet: Any,
    shelves: list[Shelf],
    seed: int,
    condition: Callable[[list[Plan], random.Random], tuple[Conditioning, Tensor]],
    timesteps: int,
    course: Course,
    checkpoint: Path,
    plain: int = _PLAIN_STEPS,
) -> float:
    schedule = make_scheduler().alphas_cumprod
    device = next(unet.parameters()).device

    def loss_of(batch: Batch, number: int) -> Tensor:
        plans, clean = batch
        chance = torch.Generator().manual_seed(seed * 1_000_003 + number)
        noise = _noise(clean, chance)
        times = torch.randint(0, timesteps, (len(plans),), generator=chance)
        kept = schedule[times][:, None, None, None]
        noisy = (kept.sqrt() * clean + (1 - kept).sqrt() * noise).to(device)
        text, time_ids = condition(plans, random.Random(f"words {seed} {number}"))
        told = {"text_embeds": text.pooled, "time_ids": time_ids.to(device)}
        guess = unet(noisy, times.to(device), text.embeddings, added_cond_kwargs=told).sample
        errors = (guess - noise.to(device)).square().mean(dim=(1, 2, 3))
        alike = number < plain * processes()
        weights = torch.ones(len(plans)) if alike else _weights(kept[:, 0, 0, 0])
        mean: Tensor = (errors * weights.to(device)).mean()
        return mean

    return fit(
        nn.ModuleDict({"unet": unet}),
        course,
        lambda numbers: batches(shelves, seed, numbers),
        loss_of,
        checkpoint,
    )
