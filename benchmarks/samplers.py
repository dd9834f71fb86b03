"""The table of samplers, with what stock's stages cost: `python -m benchmarks samplers`."""

from __future__ import annotations

import argparse
import json
import sys
from collections import defaultdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from diffusers.utils import logging as diffusers_logging

from benchmarks.equality.calls import Counting
from latentfarm.noise import NoiseConfig
from latentfarm.registry import load_registry
from latentfarm.samplers import SAMPLERS, Sampler
from latentfarm.states import Stage
from latentfarm.timesteps import evaluations
from worker.engine.model import load_model

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from worker.engine.model import LoadedModel

STEPS = (7, 20, 25)
SPLITS = (None, 0.1, 0.5, 0.8, 0.95)
BEGIN, END = "<!-- made by `python -m benchmarks samplers --write` -->\n", "<!-- end -->\n"
PAGE = Path(__file__).resolve().parents[1] / "docs" / "samplers.md"
Counts = dict[tuple[str, str, int], tuple[tuple[int, int], ...]]


def main(argv: list[str]) -> int:
    """Counts, prints the tables and one JSON object, returns 1 when the farm counts otherwise."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks samplers", description=__doc__)
    parser.add_argument("--json", action="store_true", help="print nothing but the last line")
    parser.add_argument("--write", action="store_true", help="put the tables into docs/samplers.md")
    options = parser.parse_args(argv)
    torch.set_num_threads(1)
    diffusers_logging.set_verbosity_error()  # some samplers say aloud which of their settings they change
    entry = load_registry(PAGE.parents[1] / "models" / "models.toml").get("tiny")
    counts = count(load_model(entry, [Stage.BASE, Stage.REFINE]))
    text = tables(counts)
    if options.write:
        PAGE.write_text(with_tables(PAGE.read_text(), text))
    if not options.json:
        print(text)
    figures = _figures(counts)
    sys.stdout.write(json.dumps(figures) + "\n")
    return 0 if figures["bounds"]["counted_otherwise"]["met"] else 1


def combinations() -> Iterator[tuple[str, str]]:
    """Every sampler that can be split, with every sigma schedule that it takes."""
    for name, row in SAMPLERS.items():
        if row.family == "discrete":
            yield from ((name, schedule) for schedule in ("default", *row.sigma_schedules))


def count(model: LoadedModel, steps: Sequence[int] = STEPS) -> Counts:
    """(base, refiner) evaluations in stock's own loops, for each split."""
    counting = Counting(model)
    return {
        (name, schedule, number): tuple(counting.calls(name, schedule, number, split) for split in SPLITS)
        for name, schedule in combinations()
        for number in steps
    }


def tables(counts: Counts) -> str:
    """What each sampler takes, then one table of evaluations for each number of steps."""
    steps = sorted({key[2] for key in counts})
    return "\n".join([_takes(), *(_evaluations(counts, number) for number in steps)])


def with_tables(page: str, text: str) -> str:
    """The page with its tables replaced."""
    before, rest = page.split(BEGIN)
    return f"{before}{BEGIN}\n{text}\n{END}{rest.split(END)[1]}"


def _takes() -> str:
    lines = [
        "| `sampler` | known as | class in diffusers | `sigma_schedule` besides `default` | takes |",
        "|---|---|---|---|---|",
    ]
    for name, row in SAMPLERS.items():
        schedules = ", ".join(f"`{schedule}`" for schedule in row.sigma_schedules)
        lines.append(f"| `{name}` | {row.label} | `{row.cls}` | {schedules} | {_fields(row)} |")
    return "\n".join([*lines, ""])


def _fields(row: Sampler) -> str:
    takes = {
        "timestep_spacing": row.spacing,
        "timesteps": row.takes_timesteps,
        "sigmas": row.takes_sigmas,
        "eta": row.takes_eta,
        "rescale_betas_zero_snr": row.takes_zero_snr,
    }
    return ", ".join(f"`{field}`" for field, taken in takes.items() if taken)


def _evaluations(counts: Counts, steps: int) -> str:
    """Samplers that cost the same share a line."""
    lines = [
        f"{steps} steps:\n",
        "| sampler | alone | " + " | ".join(f"split at {split}" for split in SPLITS[1:]) + " |",
        "|---|" + "---|" * len(SPLITS),
    ]
    alike: dict[tuple[tuple[int, int], ...], list[tuple[str, str]]] = defaultdict(list)
    for (name, schedule, number), found in counts.items():
        if number == steps:
            alike[found].append((name, schedule))
    for found, members in alike.items():
        cells = [str(found[0][0]), *(_cell(*pair) for pair in found[1:])]
        lines.append(f"| {_named(members)} | " + " | ".join(cells) + " |")
    return "\n".join([*lines, ""])


def _cell(base: int, refiner: int) -> str:
    return f"{base} + {refiner}" if base and refiner else f"({base} + {refiner})"


def _named(members: list[tuple[str, str]]) -> str:
    """Sampler names; behind those that have several schedules here, which."""
    schedules: dict[str, list[str]] = defaultdict(list)
    for name, schedule in members:
        schedules[name].append(schedule)
    return ", ".join(
        f"`{name}`" if found == ["default"] else f"`{name}` ({', '.join(found)})"
        for name, found in schedules.items()
    )


def _figures(counts: Counts) -> dict[str, Any]:
    wrong = [
        [*key, split]
        for key, found in counts.items()
        for split, pair in zip(SPLITS, found, strict=True)
        if evaluations(key[0], key[2], config=NoiseConfig(), sigma_schedule=key[1], split=split) != pair
    ]
    bounds = {"counted_otherwise": {"value": len(wrong), "bound": 0, "met": not wrong}}
    return {"counted": len(counts) * len(SPLITS), "wrong": wrong, "bounds": bounds}
