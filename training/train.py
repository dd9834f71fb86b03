"""Train the whole pair from nothing; every stage goes on from its checkpoint."""

import json
import time
from pathlib import Path
from typing import Any, Final

import torch

from training.architecture import Pair
from training.denoising import (
    BASE_COURSE,
    COARSE_COURSE,
    COARSE_SHARE,
    REFINER_COURSE,
    train_base,
    train_refiner,
)
from training.latents import encode_pictures
from training.loop import Course
from training.pipelines import build, save_pair
from training.reading import READING_COURSE, train_readers
from training.share import join, rank
from training.vae import COURSE, train_vae

PICTURES: Final = 14_000


def train(seed: int, output: Path, work: Path, shorten: int = 1, device: str = "cpu") -> dict[str, Any]:
    """Train VAE, base and refiner, save the pair to `output` after the last two, and report losses.

    `work` holds checkpoints, cached latents and losses. `shorten` divides every course and the
    number of pictures: a trial of the whole way in a minute or two, not a model.
    """
    join()
    started = time.monotonic()
    work.mkdir(parents=True, exist_ok=True)
    pair = build(seed)
    for part in vars(pair).values():
        part.to(device)
    report: dict[str, Any] = {
        "seed": seed,
        "vae": train_vae(pair.vae, seed, work / "vae.safetensors", _cut(COURSE, shorten)),
    }
    report["reading"] = {
        "loss": train_readers(pair, seed, work / "reading.safetensors", _cut(READING_COURSE, shorten))
    }
    shelves = encode_pictures(pair.vae, seed, PICTURES // shorten, work / "latents.safetensors")
    report["base"] = {
        "loss": train_base(pair, shelves, seed, work / "base.safetensors", _cut(BASE_COURSE, shorten))
    }
    report["base_coarse"] = {"loss": _train_coarse(pair, seed, work, shorten)}
    _save(pair, output)
    course = _cut(REFINER_COURSE, shorten)
    report["refiner"] = {"loss": train_refiner(pair, shelves, seed, work / "refiner.safetensors", course)}
    _save(pair, output)
    report["minutes_of_this_run"] = round((time.monotonic() - started) / 60, 1)
    if rank() == 0:
        (work / "report.json").write_text(json.dumps(report) + "\n", encoding="utf-8")
    return report


def _train_coarse(pair: Pair, seed: int, work: Path, shorten: int) -> float:
    """The base's second course: fewer pictures, of which many are coarse."""
    seed += 1  # pictures, noise and words of its own
    cache, course = work / "latents_coarse.safetensors", _cut(COARSE_COURSE, shorten)
    shelves = encode_pictures(pair.vae, seed, PICTURES // 2 // shorten, cache, COARSE_SHARE)
    return train_base(pair, shelves, seed, work / "base_coarse.safetensors", course, plain=0)


def _save(pair: Pair, output: Path) -> None:
    if rank() == 0:
        save_pair(pair, output)


def parameters(pair: Pair) -> dict[str, int]:
    """Parameters of each part."""
    return {name: sum(value.numel() for value in part.parameters()) for name, part in vars(pair).items()}


def use_threads(threads: int) -> None:
    """How many CPU threads torch may use."""
    torch.set_num_threads(threads)


def _cut(course: Course, shorten: int) -> Course:
    return Course(max(2, course.steps // shorten), course.rate, course.warm_up // shorten, course.average)
