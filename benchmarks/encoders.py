"""What a file of 1024x1024 pixels costs in each encoder: `python -m benchmarks encoders`."""

from __future__ import annotations

import argparse
import io
import sys
import time
import zlib
from typing import TYPE_CHECKING, Any

import numpy as np
from PIL import Image, ImageDraw

from benchmarks.measuring.machine import machine
from benchmarks.measuring.outcome import Outcome
from benchmarks.measuring.turns import Spread, take_turns
from worker.images import DEFAULT_QUALITY, PNG

if TYPE_CHECKING:
    from collections.abc import Callable

SIDE = 1024
ENCODERS: dict[str, dict[str, Any]] = {
    "png, as the farm writes it": {"format": "png", **PNG},
    "png, level 1": {"format": "png", "compress_level": 1},
    "png, level 2": {"format": "png", "compress_level": 2},
    "png, level 6": {"format": "png", "compress_level": 6},
    "png, level 1, huffman": {"format": "png", "compress_level": 1, "compress_type": zlib.Z_HUFFMAN_ONLY},
    "webp, lossless, method 0": {"format": "webp", "lossless": True, "method": 0, "quality": 0},
    "webp": {"format": "webp", "quality": DEFAULT_QUALITY["webp"]},
    "jpeg": {"format": "jpeg", "quality": DEFAULT_QUALITY["jpeg"], "subsampling": 0},
}
ASKED = (
    "Milliseconds of one thread and kB of a file of 1024x1024 pixels, by Pillow, which is there anyway: of a photograph"
    " (its spectrum and grain, drawn from a seed) and of flat shapes. The farm writes PNG of level 1 with runs as"
    " the only repetitions that are looked for, unless a job asks for WebP or JPEG."
)
FOUND = (
    "Among the settings of PNG the farm's is the one that is near the fastest and near the smallest on both kinds:"
    " Huffman alone makes files of flat shapes far larger. Lossless WebP is faster and smaller, but fewer programs read it."
)


def main(argv: list[str]) -> int:
    """Measures; always 0: an encoder is a choice, not a bound."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks encoders", description=__doc__)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--side", type=int, default=SIDE, help="pixels")
    parser.add_argument("--json", action="store_true", help="print nothing but the last line")
    parser.add_argument("--write", action="store_true", help="put the section into docs/benchmarks.md")
    options = parser.parse_args(argv)
    outcome = Outcome("encoders", ASKED, figures=machine(), notes=[FOUND])
    for kind, draw in {"photograph": photograph, "shapes": shapes}.items():
        measure(outcome, kind, draw(options.side), options.rounds)
    if options.write:
        outcome.write()
    if not options.json:
        sys.stdout.write(outcome.as_text() + "\n")
    sys.stdout.write(outcome.as_json() + "\n")
    return 0 if outcome.is_met else 1


def measure(outcome: Outcome, kind: str, image: Image.Image, rounds: int) -> None:
    """Times of all encoders in turns, and sizes."""
    taken = take_turns({name: _arm(image, settings) for name, settings in ENCODERS.items()}, rounds, warm=1)
    for name, found in taken.items():
        outcome.figures[f"{kind}, {name}: ms"] = Spread.of(found)
        outcome.figures[f"{kind}, {name}: kB"] = len(encoded(image, ENCODERS[name])) / 1000


def photograph(side: int, seed: int = 0) -> Image.Image:
    """Brightness and colours whose amplitudes fall with frequency as those of photographs do, and a little grain."""
    rng = np.random.default_rng(seed)
    bright, blue, red = (_smooth(rng, side, fall) for fall in (1.6, 1.9, 1.9))
    grey = 128 + 45 * bright + rng.normal(0, 0.7, (side, side))
    channels = (grey + 17 * red, grey - 4 * blue - 8 * red, grey + 21 * blue)
    return Image.fromarray(np.stack(channels, axis=-1).clip(0, 255).astype(np.uint8))


def shapes(side: int) -> Image.Image:
    """A circle and a square on white."""
    image = Image.new("RGB", (side, side), "white")
    drawing = ImageDraw.Draw(image)
    drawing.ellipse((side // 10, side // 5, 7 * side // 10, 4 * side // 5), fill="red")
    drawing.rectangle((6 * side // 10, side // 10, 9 * side // 10, side // 2), fill="blue")
    return image


def _smooth(rng: np.random.Generator, side: int, fall: float) -> np.ndarray[Any, Any]:
    """Noise of spread 1 whose amplitudes are frequency to the power of `-fall`, `[side, side]`."""
    frequency = np.hypot(np.fft.fftfreq(side)[:, None], np.fft.rfftfreq(side)[None, :])
    frequency[0, 0] = np.inf
    layer = np.fft.irfft2(np.fft.rfft2(rng.standard_normal((side, side))) / frequency**fall, s=(side, side))
    return np.asarray(layer / layer.std())


def encoded(image: Image.Image, settings: dict[str, Any]) -> bytes:
    """The file."""
    buffer = io.BytesIO()
    image.save(buffer, **settings)
    return buffer.getvalue()


def _arm(image: Image.Image, settings: dict[str, Any]) -> Callable[[], float]:
    def run() -> float:
        began = time.thread_time()
        encoded(image, settings)
        return 1000 * (time.thread_time() - began)

    return run
