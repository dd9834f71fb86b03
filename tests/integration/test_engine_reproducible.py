"""The picture depends on the spec alone: not on neighbours, order, position, or who rides along."""

from __future__ import annotations

import random
from typing import TYPE_CHECKING, Any

import pytest
import torch

from latentfarm.spec import RefinerSpec, RenderSpec
from latentfarm.states import Lane, Stage
from latentfarm.validation import complete
from tests.rig import Rig
from worker.engine.seating import seat_of

if TYPE_CHECKING:
    from latentfarm.registry import ModelEntry
    from worker.engine.model import LoadedModel
    from worker.engine.order import Picture

Wish = tuple[RenderSpec, int]
VARIATIONS: list[dict[str, Any]] = [
    {},
    {"sampler": "euler_ancestral"},
    {"sampler": "ddim", "eta": 0.5},
    {"sampler": "heun", "num_inference_steps": 4},
    {"sampler": "dpmpp_2m", "sigma_schedule": "karras"},
    {"sampler": "dpmpp_sde", "num_inference_steps": 4},
    {"guidance_scale": 1.0},
    {"guidance_scale": 12.0, "guidance_rescale": 0.5},
    {"negative_prompt": "red", "num_inference_steps": 9},
    {"width": 72},
    {"width": 72, "sampler": "lcm", "guidance_scale": 1.0},
    {"height": 96, "refiner": RefinerSpec()},
    {"refiner": RefinerSpec(high_noise_frac=0.5)},
    {"refiner": RefinerSpec(), "sampler": "unipc"},
    {"original_size": (16, 16), "clip_skip": 1},
    {"sampler": "pndm", "num_inference_steps": 5},
]


@pytest.fixture(scope="module")
def wishes(tiny_entry: ModelEntry) -> list[Wish]:
    """16 different specs, all reproducible."""
    common = {"num_inference_steps": 6, "width": 64, "height": 64, "reproducible": True}
    return [
        (complete(RenderSpec(prompt=f"thing {i}", **{**common, **fields}), tiny_entry), 50 + i)
        for i, fields in enumerate(VARIATIONS)
    ]


@pytest.fixture(scope="module")
def alone(wishes: list[Wish], tiny: LoadedModel) -> list[Picture]:
    """Each by itself in an engine of its own."""
    pictures = []
    for spec, seed in wishes:
        with Rig(tiny) as rig:
            pictures.append(rig.picture(rig.submit(spec, seed)))
    return pictures


def assert_equal(found: list[Picture], expected: list[Picture]) -> None:
    for index, (left, right) in enumerate(zip(found, expected, strict=True)):
        assert torch.equal(left.pixels, right.pixels), f"render {index} differs"


@pytest.mark.parametrize("mix", [1, 2])
def test_all_together_in_any_order(
    mix: int, wishes: list[Wish], alone: list[Picture], tiny: LoadedModel
) -> None:
    order = random.Random(mix).sample(range(len(wishes)), len(wishes))
    with Rig(tiny) as rig:
        together = rig.pictures([wishes[i] for i in order])
        assert rig.engine.counters.rows > 2 * rig.engine.counters.forwards, "they were not batched"
    assert_equal(together, [alone[i] for i in order])


def test_with_others_riding_along(wishes: list[Wish], alone: list[Picture], tiny: LoadedModel) -> None:
    """Renders that are not reproducible share the forwards, and come and go as they like."""
    guests = [(spec.model_copy(update={"reproducible": False}), seed + 1) for spec, seed in wishes[:8]]
    with Rig(tiny) as rig:
        for spec, seed in guests[:4]:
            rig.submit(spec, seed, lane=Lane.INTERACTIVE)
        orders = [rig.submit(spec, seed) for spec, seed in wishes[:8]]
        for spec, seed in guests[4:]:
            rig.submit(spec, seed, lane=Lane.INTERACTIVE)
        found = [rig.picture(order) for order in orders]
    assert_equal(found, alone[:8])


def test_a_sample_stands_in_the_same_rows_of_every_forward(wishes: list[Wish], tiny: LoadedModel) -> None:
    """On a GPU a row's bits depend on its place; on this CPU they do not, so the rows are looked at."""
    spec, seed = wishes[0]
    marked = spec.model_copy(update={"original_size": (777, 1), "num_inference_steps": 60})
    rows: set[tuple[int, ...]] = set()
    unet = tiny.pipelines[Stage.BASE].unet

    def look(_module: Any, _inputs: Any, named: dict[str, Any]) -> None:
        ids = named["added_cond_kwargs"]["time_ids"][:, 0]
        rows.add(tuple((ids == 777).nonzero().flatten().tolist()))

    handle = unet.register_forward_pre_hook(look, with_kwargs=True)
    try:
        with Rig(tiny) as rig:
            order = rig.submit(marked, seed)
            guests = [rig.submit(other, number) for other, number in wishes[1:6]]
            rig.until_stepped(order)
            inside = rig.engine._roster.active(1.0)
            seats = {seat_of(sample, tiny.bucket) for sample in inside if sample.order is order}
            for one in (*guests, order):
                rig.picture(one)
    finally:
        handle.remove()
    assert len(seats) == 1
    assert len(rows - {()}) > 1, "it was always by itself"
    # Empty rows may be filled with copies of it: its own are those that it has in every forward.
    assert set.intersection(*(set(found) for found in rows if found)) == set(*seats)


def test_forwards_have_one_shape(wishes: list[Wish], tiny: LoadedModel) -> None:
    """The reason why it holds: every forward with a reproducible sample has the model's bucket."""
    shapes: set[int] = set()
    unet = tiny.pipelines[Stage.BASE].unet
    handle = unet.register_forward_pre_hook(lambda _module, inputs: shapes.add(inputs[0].shape[0]))
    try:
        with Rig(tiny) as rig:
            rig.pictures(wishes[:3])
    finally:
        handle.remove()
    assert shapes == {tiny.bucket}
