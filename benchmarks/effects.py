"""Whether the tiny model's effects hold through a farm as they do in diffusers: `python -m benchmarks effects`."""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch

from benchmarks.equality.painter import FarmPainter
from benchmarks.equality.queues import ROOT, Queues
from latentfarm.client import Client
from training.studio import open_studio
from training.verdicts import EFFECTS, measured

if TYPE_CHECKING:
    from collections.abc import Sequence

    from training.painter import Painter

Figures = dict[str, Any]


def main(argv: list[str]) -> int:
    """Measures, prints one JSON object as the last line, returns 1 when a bound is not met."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks effects", description=__doc__)
    parser.add_argument("--seeds", type=int, default=50, help="per effect")
    parser.add_argument("--json", action="store_true", help="print nothing but the last line")
    options = parser.parse_args(argv)
    torch.set_num_threads(1)
    registry = ROOT / "models" / "models.toml"
    with (
        tempfile.TemporaryDirectory(prefix="effects-") as folder,
        Queues(Path(folder), registry) as queues,
        Client(queues.url) as client,
    ):
        painters: dict[str, Painter] = {
            "farm": FarmPainter(client),
            "stock": open_studio(ROOT / "models" / "tiny"),
        }
        figures = measure(painters, range(100, 100 + options.seeds), say=not options.json)
    sys.stdout.write(json.dumps(figures) + "\n")
    return 0 if all(bound["met"] for bound in figures["bounds"].values()) else 1


def measure(painters: dict[str, Painter], seeds: Sequence[int], *, say: bool) -> Figures:
    """Both averages of every effect by every painter, and under `bounds` what must hold of them."""
    started = time.perf_counter()
    found: Figures = {"seeds": len(seeds), "effects": {name: {} for name in EFFECTS}, "bounds": {}}
    for name in EFFECTS:
        for arm, painter in painters.items():
            pairing, bounds = measured(painter, name, seeds)
            found["effects"][name][arm] = [round(value, 3) for value in pairing]
            found["bounds"] |= {f"{arm}.{name}.{what}": bound for what, bound in bounds.items()}
        if say:
            print(name, json.dumps(found["effects"][name]), file=sys.stderr)
    return found | {"seconds": round(time.perf_counter() - started)}
