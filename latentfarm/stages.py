"""How many UNet evaluations each stage of a spec takes, and whether each has one to take."""

from __future__ import annotations

from typing import TYPE_CHECKING

from latentfarm.errors import InvalidInput
from latentfarm.facts import facts_of
from latentfarm.modes import Mode, first_stage, mode_of, strength_of
from latentfarm.sampling import timetable_of
from latentfarm.states import Stage
from latentfarm.timesteps import after_strength, split_counts

if TYPE_CHECKING:
    from collections.abc import Sequence

    from latentfarm.noise import NoiseConfig
    from latentfarm.registry import ModelEntry
    from latentfarm.spec import RenderSpec


def check_stages(spec: RenderSpec, entry: ModelEntry) -> None:
    """Every stage must have a step to take.

    Args:
        spec: complete.

    Raises:
        InvalidInput: one has none; names the field that cuts too much away.
    """
    if spec.refiner is not None and entry.refiner is None:
        raise InvalidInput("refiner", f"model {entry.name} has no refiner", "null")
    counts = _counts(spec, entry)
    if counts is None:
        return  # the engine asks the real sampler, and refuses what slips through
    started, base, refined = counts
    if started == 0 and mode_of(spec) is not Mode.TEXT:
        raise InvalidInput("strength", "leaves no step", "a larger share, or more steps")
    if spec.refiner is None or (refined and (base or first_stage(spec) is Stage.REFINE)):
        return
    if spec.refiner.split is None:
        raise InvalidInput("refiner.strength", "leaves no step", "a larger share, or more steps")
    stage = "base" if base == 0 else "refiner"
    raise InvalidInput(
        "refiner.high_noise_frac", f"leaves the {stage} no step", "a split that both stages share"
    )


def evaluations_of(spec: RenderSpec, entry: ModelEntry) -> tuple[int, int] | None:
    """UNet evaluations of the base and of the refiner; None where only diffusers can tell.

    Args:
        spec: complete.
    """
    counts = _counts(spec, entry)
    return None if counts is None else counts[1:]


def megapixel_steps_of(spec: RenderSpec, entry: ModelEntry) -> float:
    """The work of one image: pixels / 1,000,000 x UNet evaluations, of base and refiner.

    Args:
        spec: complete.
    """
    counts = evaluations_of(spec, entry)
    evaluations = sum(counts) if counts is not None else spec.num_inference_steps
    return (spec.height or 0) * (spec.width or 0) / 1_000_000 * evaluations


def _counts(spec: RenderSpec, entry: ModelEntry) -> tuple[int, int, int] | None:
    """Of the base before and after the split, and of the refiner."""
    facts = facts_of(entry)
    if facts.family == "edm":
        return _counts_of_edm(spec)
    return None if facts.noise is None else _counts_along(spec, entry, facts.noise)


def _counts_of_edm(spec: RenderSpec) -> tuple[int, int, int]:
    """One evaluation a step, and no split: these have noise levels in place of timesteps."""
    steps, refiner = spec.num_inference_steps, spec.refiner
    whole = mode_of(spec) is Mode.TEXT or first_stage(spec) is Stage.REFINE
    started = steps if whole else min(int(steps * strength_of(spec)), steps)
    base = 0 if first_stage(spec) is Stage.REFINE else started
    own = 0 if refiner is None else refiner.num_inference_steps or steps
    return started, base, 0 if refiner is None else min(int(own * refiner.reworked), own)


def _counts_along(spec: RenderSpec, entry: ModelEntry, noise: NoiseConfig) -> tuple[int, int, int]:
    sampler, refiner = spec.sampler or entry.sampler, spec.refiner
    own = spec.timesteps is not None or spec.sigmas is not None
    table = timetable_of(spec, entry, noise)
    started: Sequence[float] = table
    if mode_of(spec) is not Mode.TEXT and first_stage(spec) is Stage.BASE:
        steps = len(table) if own else spec.num_inference_steps
        started = after_strength(sampler, table, steps, strength_of(spec))
    if refiner is None:
        return len(started), len(started), 0
    if refiner.split is not None:
        total = noise.train_timesteps
        base, _ = split_counts(sampler, started, total, refiner.split)
        return len(started), base, split_counts(sampler, table, total, refiner.split)[1]
    steps = refiner.num_inference_steps or spec.num_inference_steps
    again = timetable_of(spec.model_copy(update={"num_inference_steps": steps}), entry, noise)
    refined = after_strength(sampler, again, len(again) if own else steps, refiner.reworked)
    return len(started), 0 if first_stage(spec) is Stage.REFINE else len(started), len(refined)
