"""Whether the farm paints what diffusers paints: `python -m benchmarks parity`."""

from __future__ import annotations

import argparse
import json
import random
import sys
import tempfile
import time
import warnings
from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch

from benchmarks.equality.comparison import Comparison, compare_with_itself
from benchmarks.equality.models import ALONE, KINDS, write_models
from benchmarks.equality.queues import Queues, RefusedError
from benchmarks.equality.sets import Sets
from benchmarks.equality.space.whole import text_to_image
from latentfarm.errors import LatentfarmError
from latentfarm.registry import load_registry
from latentfarm.states import Lane, Stage
from tests.rig import largest_difference
from worker.engine.model import LoadedModel, load_model

if TYPE_CHECKING:
    import uuid
    from collections.abc import Callable, Iterator, Sequence

    from benchmarks.equality.sets import ParameterSet

Figures = dict[str, Any]
SETS = 250
"""From so many on, every pair of levels must be covered and every parameter must have had an effect."""


def main(argv: list[str]) -> int:
    """Measures, prints one JSON object as the last line, returns 1 when a bound is not met."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks parity", description=__doc__)
    parser.add_argument("--seed", type=int, default=1, help="of the sets")
    parser.add_argument("--n", type=int, default=SETS, help="how many sets")
    parser.add_argument("--model", type=Path, default=Path("models/tiny"))
    parser.add_argument("--json", action="store_true", help="print nothing but the last line")
    options = parser.parse_args(argv)
    torch.set_num_threads(1)
    _hush()
    with tempfile.TemporaryDirectory(prefix="parity-") as folder:
        figures = measure(Path(folder), options.model, options.seed, options.n, say=not options.json)
    sys.stdout.write(json.dumps(figures) + "\n")
    return 0 if all(bound["met"] for bound in figures["bounds"].values()) else 1


def measure(folder: Path, model: Path, seed: int, count: int, *, say: bool) -> Figures:
    """All figures, and under `bounds` what they must be."""
    started = time.perf_counter()
    path = write_models(folder, model)
    registry = load_registry(path)
    models = {name: load_model(registry.get(name), [Stage.BASE, Stage.REFINE]) for name in KINDS}
    sets = Sets(text_to_image(), registry, seed)
    drawn = sets.draw(count)
    with Queues(folder / "farm", path) as queues:
        found = _compare(queues, models, drawn, random.Random(seed), say=say)
    for comparison in found:
        _report(comparison)
    covering = sets.covering
    return {
        "seed": seed,
        "sets": count,
        "pairs_missing": len(covering.open),
        "pairs_that_cannot_be": len(covering.impossible),
        **_summary(found),
        "seconds": round(time.perf_counter() - started),
        "bounds": _bounds(found, len(covering.open), sets.parameters),
    }


def _compare(
    queues: Queues,
    models: dict[str, LoadedModel],
    drawn: Sequence[ParameterSet],
    rng: random.Random,
    *,
    say: bool,
) -> list[Comparison]:
    """Stock renders here while the farm renders each set alone; then come the other two ways."""
    found, alone = [], []
    for index, chosen in enumerate(drawn):
        job = _submit(queues, chosen)
        found.append(compare_with_itself(models[chosen.spec.model], chosen))
        alone.append(_pixels(queues, job, found[-1]))
        if say and (index + 1) % 25 == 0:
            print(f"{index + 1} of {len(drawn)} sets rendered alone", file=sys.stderr)
    for index, pixels in _together(queues, drawn, found, rng.sample(range(len(drawn)), len(drawn))):
        before = alone[index]
        found[index].mixed = largest_difference(pixels, found[index].stock)
        found[index].bit_equal = before is not None and torch.equal(pixels, before)
    for index, pixels in _together(queues, drawn, found, range(len(drawn)), ALONE):
        found[index].single = largest_difference(pixels, found[index].stock)
    return found


def _together(
    queues: Queues,
    drawn: Sequence[ParameterSet],
    found: Sequence[Comparison],
    order: Sequence[int],
    ending: str = "",
) -> Iterator[tuple[int, torch.Tensor]]:
    """Hands in all sets, and then gives each image."""
    jobs = [(index, _submit(queues, drawn[index], ending)) for index in order]
    for index, job in jobs:
        pixels = _pixels(queues, job, found[index])
        if pixels is not None:
            yield index, pixels


def _submit(queues: Queues, chosen: ParameterSet, ending: str = "") -> uuid.UUID | LatentfarmError:
    fields = {"model": chosen.spec.model + ending, "reproducible": not ending, "lane": Lane.BULK}
    try:
        return queues.submit(chosen.spec.model_copy(update=fields), chosen.seed)
    except LatentfarmError as error:
        return error


def _pixels(queues: Queues, job: uuid.UUID | LatentfarmError, comparison: Comparison) -> torch.Tensor | None:
    try:
        if isinstance(job, LatentfarmError):
            raise job
        return queues.pixels(job)
    except (LatentfarmError, RefusedError, TimeoutError) as error:
        comparison.error = str(error)
        return None


def _report(comparison: Comparison) -> None:
    """Whatever is wrong with a set, with all that it takes to see it again."""
    wrong = {
        "failed": bool(comparison.error),
        "unlike stock with a bucket of one": (comparison.single or 0) > 1,
        "beyond the floor": comparison.mixed is not None and not comparison.within_floor,
        "not bit-equal": comparison.bit_equal is False,
    }
    for what in [what for what, found in wrong.items() if found]:
        print(
            f"{what}: {comparison.error} single {comparison.single} mixed {comparison.mixed}"
            f" floor {comparison.floor} seed {comparison.chosen.seed}"
            f" {comparison.chosen.spec.model_dump_json(exclude_defaults=True)}"
        )


def _summary(found: Sequence[Comparison]) -> Figures:
    def histogram(value: Callable[[Comparison], int | None]) -> dict[str, int]:
        return {str(key): times for key, times in sorted(Counter(map(value, found)).items(), key=str)}

    return {
        "difference_with_a_bucket_of_one": histogram(lambda comparison: comparison.single),
        "difference_with_the_default_bucket": histogram(lambda comparison: comparison.mixed),
        "floor": histogram(lambda comparison: comparison.floor),
        "effective": dict(Counter(_effective(found))),
    }


def _effective(found: Sequence[Comparison]) -> list[str]:
    """The parameter of each set that moved stock's picture."""
    return [list(comparison.effects)[-1] for comparison in found if not comparison.void]


def _bounds(found: Sequence[Comparison], missing: int, parameters: Sequence[str]) -> Figures:
    bounds = {
        "failed": _at_most(sum(bool(one.error) for one in found), 0),
        "unlike_stock_with_a_bucket_of_one": _at_most(sum((one.single or 0) > 1 for one in found), 0),
        "beyond_the_floor": _at_most(sum(not one.within_floor for one in found), 0),
        "not_bit_equal": _at_most(sum(one.bit_equal is not True for one in found), 0),
        "void_share": _at_most(round(sum(one.void for one in found) / len(found), 4), 0.05),
    }
    if len(found) >= SETS:
        idle = set(parameters) - set(_effective(found))
        bounds["pairs_missing"] = _at_most(missing, 0)
        bounds["parameters_without_effect"] = {"value": sorted(idle), "bound": [], "met": not idle}
    return bounds


def _at_most(value: float, bound: float) -> Figures:
    return {"value": value, "bound": bound, "met": value <= bound}


def _hush() -> None:
    """Stock says that long prompts are cut, and numpy and torchsde warn of each other's ways."""
    from diffusers.utils import logging as diffusers_logging
    from transformers.utils import logging as transformers_logging

    diffusers_logging.set_verbosity_error()
    transformers_logging.set_verbosity_error()
    warnings.filterwarnings("ignore", category=DeprecationWarning)
    warnings.filterwarnings("ignore", message="Should have t[ab]")
