"""What a worker renders for nobody, to be warm before it is ready: one order for each stage and size."""

from __future__ import annotations

from typing import TYPE_CHECKING

from PIL import Image

from latentfarm.spec import RefinerSpec, RenderSpec
from latentfarm.states import Lane, Stage
from latentfarm.validation import complete
from worker.engine.order import Inputs, Order

if TYPE_CHECKING:
    from collections.abc import Iterable

    from latentfarm.registry import ModelEntry


def needs_warming(entry: ModelEntry, device: str) -> bool:
    """Whether a first forward costs more than a later one: on a GPU, or with a compiler."""
    return device != "cpu" or entry.speed.compile != "none"


def orders_of(entry: ModelEntry, stages: Iterable[Stage]) -> list[Order]:
    """Orders at the entry's warm sizes; nobody has their render ids.

    Args:
        stages: that are loaded.
    """
    sizes = entry.speed.warm_sizes or (entry.native_size,)
    return [_order(entry, stage, height, width) for height, width in sizes for stage in stages]


def _order(entry: ModelEntry, stage: Stage, height: int, width: int) -> Order:
    # The refiner alone starts from a picture; from latents it would need those of a base stage.
    alone = stage is Stage.REFINE
    spec = RenderSpec(
        model=entry.name,
        prompt="a",
        height=height,
        width=width,
        num_inference_steps=entry.max_steps,
        image=f"sha256:{0:064x}" if alone else None,
        refiner=RefinerSpec(mode="only", strength=1.0) if alone else None,
    )
    inputs = Inputs(Image.new("RGB", (width, height)), None) if alone else None
    return Order(
        render_id=0, fence=0, stage=stage, spec=complete(spec, entry), seed=0, lane=Lane.BULK, inputs=inputs
    )
