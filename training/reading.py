"""Teach both text encoders to read before the UNet learns to draw, as CLIP was trained before SDXL.

Each encoder gets throw-away heads that must name every fact that a text tells. Without this the
UNet sees noise in place of words for most of a short training.
"""

import random
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Final

import torch
from torch import Tensor, nn

from training.architecture import POOLED_WIDTH, TEXT_WIDTH, TEXT_WIDTH_2, Pair
from training.loop import Course, fit
from training.scene import Scene, caption, leave_open, random_scene, style_caption
from training.text import TextReader
from training.words import BACKGROUNDS, COLOURS, PLACES, SHAPES, SIZES, STYLES

READING_COURSE: Final = Course(steps=1200, rate=2e-3, average=0.99)
BATCH: Final = 32
# What a head can answer for each fact; the answer after the last one is "not said".
_ANSWERS: Final[dict[str, tuple[str, ...]]] = {
    "shape": SHAPES,
    "colour": tuple(COLOURS),
    "size": SIZES,
    "place": tuple(PLACES),
    "second shape": SHAPES,
    "second colour": tuple(COLOURS),
    "background": tuple(BACKGROUNDS),
    "style": STYLES,
}
Batch = tuple[list[str], Tensor]


def train_readers(pair: Pair, seed: int, checkpoint: Path, course: Course = READING_COURSE) -> float:
    """Train both encoders in place; returns the mean cross-entropy per fact of the last tenth."""
    reader = TextReader(pair)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        heads = nn.ModuleDict(
            {
                "first": _head(TEXT_WIDTH),
                "second": _head(TEXT_WIDTH_2),
                "pooled": _head(POOLED_WIDTH),
            }
        ).to(pair.text_encoder.device)

    def loss_of(batch: Batch, _number: int) -> Tensor:
        texts, answers = batch
        both = reader.for_base(texts, texts)
        answers = answers.to(both.pooled.device)
        means = both.embeddings.mean(dim=1)
        guesses = {
            "first": heads["first"](means[:, :TEXT_WIDTH]),
            "second": heads["second"](means[:, TEXT_WIDTH:]),
            "pooled": heads["pooled"](both.pooled),
        }
        return torch.stack([_surprise(guess, answers) for guess in guesses.values()]).mean()

    modules = nn.ModuleDict({"one": pair.text_encoder, "two": pair.text_encoder_2, "heads": heads})
    return fit(modules, course, lambda numbers: _batches(seed, numbers), loss_of, checkpoint)


def _head(width: int) -> nn.Linear:
    return nn.Linear(width, sum(len(answers) + 1 for answers in _ANSWERS.values()))


def _surprise(guesses: Tensor, answers: Tensor) -> Tensor:
    """Mean cross-entropy over the facts; `answers` is `[n, facts]`."""
    sizes = [len(known) + 1 for known in _ANSWERS.values()]
    parts = torch.split(guesses, sizes, dim=1)
    losses = [nn.functional.cross_entropy(part, answers[:, fact]) for fact, part in enumerate(parts)]
    return torch.stack(losses).mean()


def _batches(seed: int, numbers: range) -> Iterator[Batch]:
    for number in numbers:
        rng = random.Random(f"reading {seed} {number}")
        told = [_text(rng) for _ in range(BATCH)]
        yield [text for text, _ in told], torch.tensor([answers for _, answers in told])


def _text(rng: random.Random) -> tuple[str, list[int]]:
    """A text as one of the encoders may get it, and the number of each fact's answer."""
    scene = leave_open(random_scene(rng), rng)
    luck = rng.random()
    if luck < 0.2:
        return style_caption(scene), _answers(_facts(scene, main=False, style=True))
    styled = luck < 0.6
    return caption(scene, with_style=styled), _answers(_facts(scene, main=True, style=styled))


def _facts(scene: Scene, *, main: bool, style: bool) -> dict[str, str | None]:
    facts: dict[str, str | None] = {"style": scene.style if style else None}
    if main:
        facts |= vars(scene.main)
        facts["background"] = scene.background
        if scene.second is not None:
            facts |= {"second shape": scene.second.shape, "second colour": scene.second.colour}
    return facts


def _answers(facts: dict[str, str | None]) -> list[int]:
    numbers: Iterable[tuple[tuple[str, ...], str | None]] = (
        (known, facts.get(fact)) for fact, known in _ANSWERS.items()
    )
    return [len(known) if said is None else known.index(said) for known, said in numbers]
