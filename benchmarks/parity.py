"""Whether the farm paints what diffusers paints: `python -m benchmarks parity`."""

from __future__ import annotations

import argparse
import json
import os
import sys
import tempfile
import time
from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch

from benchmarks.equality.models import write_models
from benchmarks.equality.passes import Passes
from benchmarks.equality.pool import Pool, hush
from benchmarks.equality.queues import Queues
from benchmarks.equality.sets import Sets
from benchmarks.equality.space.whole import space
from benchmarks.equality.weights import write_weights
from latentfarm.registry import load_registry

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

    from benchmarks.equality.comparison import Comparison

Figures = dict[str, Any]
SETS = 250
"""From so many on, every pair of levels must be covered and every parameter must have had an effect."""


def main(argv: list[str]) -> int:
    """Measures, prints one JSON object as the last line, returns 1 when a bound is not met."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks parity", description=__doc__)
    parser.add_argument("--seed", type=int, default=1, help="of the sets")
    parser.add_argument("--n", type=int, default=SETS, help="how many sets")
    parser.add_argument("--model", type=Path, default=Path("models/tiny"))
    parser.add_argument("--processes", type=int, default=os.cpu_count() or 1, help="that run stock")
    parser.add_argument(
        "--quick", action="store_true", help="measure the floor only of sets that are more than 1/255 off"
    )
    parser.add_argument("--json", action="store_true", help="print nothing but the last line")
    options = parser.parse_args(argv)
    torch.set_num_threads(1)
    hush()
    with tempfile.TemporaryDirectory(prefix="parity-") as folder:
        figures = measure(Path(folder), options)
    sys.stdout.write(json.dumps(figures) + "\n")
    return 0 if all(bound["met"] for bound in figures["bounds"].values()) else 1


def measure(folder: Path, options: argparse.Namespace) -> Figures:
    """All figures, and under `bounds` what they must be."""
    started = time.perf_counter()
    path = write_models(folder, options.model)
    write_weights(folder, options.model)
    sets = Sets(space(), load_registry(path), options.seed)
    drawn = sets.draw(options.n)
    with Pool(path, options.processes) as pool, Queues(folder / "farm", path) as queues:
        found = Passes(queues, pool, quick=options.quick, say=not options.json).compare(drawn, options.seed)
    if not options.json:
        for comparison in found:
            _report(comparison)
    covering = sets.covering
    return {
        "seed": options.seed,
        "sets": options.n,
        "pairs_missing": len(covering.open),
        "pairs_that_cannot_be": len(covering.impossible),
        **_summary(found),
        "seconds": round(time.perf_counter() - started),
        "bounds": _bounds(found, len(covering.open), sets.parameters),
    }


def _report(one: Comparison) -> None:
    """Whatever is wrong with a set, with all that it takes to see it again."""
    wrong = {
        "failed": bool(one.error),
        "unlike stock with a bucket of one": (one.off_alone or 0) > 1,
        "beyond the floor": one.off_mixed is not None and not one.within_floor,
        "not bit-equal": not one.bit_equal,
    }
    spec = one.chosen.given.model_dump(mode="json", exclude_defaults=True, exclude={"image", "mask_image"})
    for what in [what for what, found in wrong.items() if found]:
        print(
            f"{what}: set {one.number}, {one.error or 'no error'}; bucket of one {one.off_alone},"
            f" default bucket {one.off_mixed}, floor {one.floor}; seed {one.chosen.seed},"
            f" mode {one.chosen.levels['mode']}, {json.dumps(spec, ensure_ascii=False)}"
        )


def _summary(found: Sequence[Comparison]) -> Figures:
    floors = [one.floor for one in found if one.floor is not None]
    return {
        "difference_with_a_bucket_of_one": _histogram(one.off_alone for one in found),
        "difference_with_the_default_bucket": _histogram(one.off_mixed for one in found),
        "floor_of_uniform_moves": _histogram(floor.uniform for floor in floors),
        "floor_of_random_moves": _histogram(floor.signed for floor in floors),
        "modes": dict(Counter(one.chosen.levels["mode"].replace("plain", "text") for one in found)),
        "effective": dict(Counter(_effective(found))),
    }


def _histogram(values: Iterable[int | None]) -> dict[str, int]:
    counted = Counter(-1 if value is None else value for value in values)
    return {"none" if value < 0 else str(value): counted[value] for value in sorted(counted)}


def _effective(found: Sequence[Comparison]) -> list[str]:
    """The parameter of each set that moved stock's picture."""
    return [list(one.measured.effects)[-1] for one in found if one.measured is not None and not one.void]


def _bounds(found: Sequence[Comparison], missing: int, parameters: Sequence[str]) -> Figures:
    def count(wrong: Callable[[Comparison], bool]) -> Figures:
        return _at_most(sum(map(wrong, found)), 0)

    bounds = {
        "failed": count(lambda one: bool(one.error)),
        "unlike_stock_with_a_bucket_of_one": count(lambda one: (one.off_alone or 0) > 1),
        "beyond_the_floor": count(lambda one: one.off_mixed is not None and not one.within_floor),
        "not_bit_equal": count(lambda one: not one.bit_equal),
        "void_share": _at_most(round(sum(one.void for one in found) / len(found), 4), 0.05),
    }
    if len(found) >= SETS:
        idle = set(parameters) - set(_effective(found))
        bounds["pairs_missing"] = _at_most(missing, 0)
        bounds["parameters_without_effect"] = {"value": sorted(idle), "bound": [], "met": not idle}
    return bounds


def _at_most(value: float, bound: float) -> Figures:
    return {"value": value, "bound": bound, "met": value <= bound}
