"""Stops a sample between two steps and lets another one go on, as two workers would, without threads."""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING

import torch

from latentfarm.modes import first_stage
from latentfarm.states import Lane, Stage
from worker import checkpoints, latents
from worker.engine.checkpoint import snapshot
from worker.engine.decode import finish
from worker.engine.forward import forward, shape_of
from worker.engine.group import choose
from worker.engine.order import Handover, Order, Picture
from worker.engine.prepare import prepare
from worker.engine.step import advance

if TYPE_CHECKING:
    from collections.abc import Iterable

    from latentfarm.spec import RenderSpec
    from worker.engine.model import LoadedModel
    from worker.engine.order import Inputs
    from worker.engine.sample import Sample


def order_of(spec: RenderSpec, seed: int, inputs: Inputs | None = None) -> Order:
    """The first stage of a render."""
    return Order(1, 1, first_stage(spec), spec, seed, Lane.BULK, inputs=inputs)


def step(sample: Sample, model: LoadedModel) -> None:
    """One step of a sample by itself, in the shape that its forwards have in the engine."""
    group = choose([sample], lambda _: model.bucket)
    (noise,) = forward(group, shape_of(group, model.device))
    advance(sample, noise)


def run(order: Order, model: LoadedModel, stops: Iterable[int] = ()) -> Handover | Picture:
    """All steps of a stage. At each of `stops` everything is thrown away but the checkpoint's bytes."""
    stops = set(stops)
    with torch.inference_mode():
        sample = prepare(order, model)
        while not sample.finished:
            step(sample, model)
            if sample.index in stops and not sample.finished:
                kept = checkpoints.unpack(checkpoints.pack(snapshot(sample)))
                reached = sample.index
                sample = prepare(dataclasses.replace(order, checkpoint=kept), model)
                assert sample.index == reached, "the checkpoint was ignored"
        return finish(sample)


def run_both(order: Order, model: LoadedModel, stops: Iterable[int] = ()) -> list[Handover | Picture]:
    """The results of all stages of a render, each interrupted at the same steps."""
    stops = set(stops)
    results = [run(order, model, stops)]
    if isinstance(results[0], Handover):
        handed = latents.unpack(latents.pack(results[0]))
        onward = dataclasses.replace(order, stage=Stage.REFINE, handover=handed)
        results.append(run(onward, model, stops))
    return results


def same(left: list[Handover | Picture], right: list[Handover | Picture]) -> bool:
    """Whether two renders are equal to the bit, in every stage."""
    return all(torch.equal(_tensor(a), _tensor(b)) for a, b in zip(left, right, strict=True))


def _tensor(result: Handover | Picture) -> torch.Tensor:
    return result.latents if isinstance(result, Handover) else result.pixels
