"""Images per second, end to end, against loops over stock diffusers: `python -m benchmarks throughput`."""

from __future__ import annotations

import argparse
import os
import sys
import tempfile
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from benchmarks.equality.pool import hush
from benchmarks.measuring.farm import ROOT, farm
from benchmarks.measuring.machine import commit_ms, machine
from benchmarks.measuring.outcome import Outcome
from benchmarks.measuring.processor import spent_s
from benchmarks.measuring.turns import Spread, ratio, take_turns
from benchmarks.rendering.ordering import occupied, render
from benchmarks.rendering.stock import Stock
from benchmarks.rendering.wanted import mixed, uniform
from worker.images import PNG

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from benchmarks.measuring.farm import Running
    from benchmarks.rendering.wanted import Wanted

MIXED, UNIFORM = 1.5, 0.95
BATCH = 4
"""Guided images in one forward of the farm: its bucket has eight rows."""
ASKED = (
    "End to end (API, SQL, Redis, base, refiner, PNG, S3) against stock diffusers in one process, base and refiner"
    " pipeline, PNG to disk: one by one with mixed prompts, steps, samplers and guidance; and batched by hand, where"
    " all images have one setting."
)


@dataclass(slots=True)
class Arm:
    """Paints the same images each time.

    Attributes:
        paint: gives images per second.
        pids: of the processes that paint.
        spent: processor milliseconds per image, one for each time.
    """

    images: Sequence[Wanted]
    paint: Callable[[Sequence[Wanted]], float]
    pids: Sequence[int]
    spent: list[float] = field(default_factory=list)

    def __call__(self) -> float:
        """Images per second."""
        before = spent_s(self.pids)
        rate = self.paint(self.images)
        self.spent.append(1000 * (spent_s(self.pids) - before) / len(self.images))
        return rate


def main(argv: list[str]) -> int:
    """Measures; 1 when a bound is not met."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks throughput", description=__doc__)
    parser.add_argument("--images", type=int, default=256, help="of each arm and round")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--threads", type=int, default=1, help="of torch, in all arms")
    parser.add_argument("--json", action="store_true", help="print nothing but the last line")
    parser.add_argument("--write", action="store_true", help="put the section into docs/benchmarks.md")
    options = parser.parse_args(argv)
    hush()
    outcome = Outcome("throughput", ASKED, figures=machine())
    settings = {"LATENTFARM_MODELS": "tiny", "LATENTFARM_TORCH_THREADS": str(options.threads)}
    with tempfile.TemporaryDirectory(prefix="throughput-") as folder:
        pictures = Path(folder) / "pictures"
        pictures.mkdir()
        stock = Stock(ROOT / "models" / "tiny", options.threads, pictures)
        with farm(Path(folder) / "farm", settings) as running:
            measure(outcome, running, stock, options.images, options.rounds)
    if options.write:
        outcome.write()
    if not options.json:
        sys.stdout.write(outcome.as_text() + "\n")
    sys.stdout.write(outcome.as_json() + "\n")
    return 0 if outcome.is_met else 1


def measure(outcome: Outcome, running: Running, stock: Stock, count: int, rounds: int) -> None:
    """Both comparisons, one after the other."""
    with running.connect() as database:
        outcome.figures["milliseconds of a commit"] = commit_ms(database)
    render(running, mixed(2 * BATCH))
    stock.one_by_one(mixed(1))
    stock.by_hand(uniform(BATCH), BATCH, PNG)
    farms, here = tuple(running.pids.values()), (os.getpid(),)
    one_by_one = (
        Arm(mixed(count), lambda images: render(running, images), farms),
        Arm(mixed(count), lambda images: _rate(images, stock.one_by_one), here),
    )
    by_hand = (
        Arm(uniform(count), lambda images: render(running, images), farms),
        Arm(uniform(count), lambda images: _rate(images, lambda i: stock.by_hand(i, BATCH, PNG)), here),
    )
    outcome.least("mixed, times one by one", _compare(outcome, running, "mixed", one_by_one, rounds), MIXED)
    outcome.least(
        "one setting, times by hand", _compare(outcome, running, "one setting", by_hand, rounds), UNIFORM
    )


def _compare(outcome: Outcome, running: Running, name: str, arms: tuple[Arm, Arm], rounds: int) -> Spread:
    load, before = os.getloadavg()[0], occupied(running)
    rates = take_turns({"farm": arms[0], "stock": arms[1]}, rounds)
    after = occupied(running)
    share = (after[0] - before[0]) / max(1, after[1] - before[1])
    for arm, who in zip(arms, rates, strict=True):
        outcome.figures[f"{name}, {who}: images per second"] = Spread.of(rates[who])
        outcome.figures[f"{name}, {who}: processor ms per image"] = Spread.of(arm.spent)
    outcome.figures[f"{name}, farm: occupied share of forwards"] = share
    outcome.figures[f"{name}: load of the machine before"] = load
    return ratio(rates["farm"], rates["stock"])


def _rate(images: Sequence[Wanted], paint: Callable[[Sequence[Wanted]], None]) -> float:
    began = time.perf_counter()
    paint(images)
    return len(images) / (time.perf_counter() - began)
