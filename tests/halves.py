"""The two stages of a render in a process each, as base and refine workers are, without the farm around them."""

from __future__ import annotations

from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from pathlib import Path
from typing import TYPE_CHECKING, Self

import torch

from latentfarm.registry import load_registry
from latentfarm.spec import RenderSpec
from latentfarm.states import Stage
from tests.rig import Rig, with_bucket
from worker.engine.model import load_model
from worker.engine.order import Handover, Picture
from worker.latents import pack, unpack

if TYPE_CHECKING:
    from types import TracebackType

_RIGS: dict[Stage, Rig] = {}
"""In a child: the engine of its stage."""


class Halves:
    """Two processes that share nothing but bytes; each holds the weights of its stage only."""

    def __init__(self) -> None:
        self._pools = {
            stage: ProcessPoolExecutor(1, get_context("spawn"), _load, (stage,))
            for stage in (Stage.BASE, Stage.REFINE)
        }

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for pool in self._pools.values():
            pool.shutdown()

    def render(self, spec: RenderSpec, seed: int) -> tuple[torch.Tensor, tuple[int, int]]:
        """The image of a spec with a refiner: `[height, width, 3]`; and how often each UNet ran."""
        text = spec.model_dump_json()
        latents, base = self._pools[Stage.BASE].submit(_base, text, seed).result()
        pixels, refined = self._pools[Stage.REFINE].submit(_refine, text, seed, latents).result()
        return torch.from_numpy(pixels), (base, refined)


def _load(stage: Stage) -> None:
    torch.set_num_threads(1)
    entry = load_registry(Path(__file__).parents[1] / "models" / "models.toml").get("tiny")
    rig = Rig(with_bucket(load_model(entry, [stage]), 1))
    rig.engine.start()
    _RIGS[stage] = rig


def _base(text: str, seed: int) -> tuple[bytes, int]:
    rig = _RIGS[Stage.BASE]
    before = rig.engine.counters.forwards
    result = rig.result(rig.submit(RenderSpec.model_validate_json(text), seed))
    assert isinstance(result, Handover), result
    return pack(result), rig.engine.counters.forwards - before


def _refine(text: str, seed: int, latents: bytes) -> tuple[object, int]:
    rig = _RIGS[Stage.REFINE]
    before = rig.engine.counters.forwards
    order = rig.submit(
        RenderSpec.model_validate_json(text), seed, stage=Stage.REFINE, handover=unpack(latents)
    )
    result = rig.result(order)
    assert isinstance(result, Picture), result
    return result.pixels.numpy(), rig.engine.counters.forwards - before
