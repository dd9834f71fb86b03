"""Equal to diffusers when something is refined again: a finished picture, or latents that are kept."""

from __future__ import annotations

import random
from typing import TYPE_CHECKING, Any

import pytest
import torch

from latentfarm.errors import InvalidInput
from latentfarm.mode_rules import fit_pictures
from latentfarm.samplers import SAMPLERS
from latentfarm.spec import RenderSpec
from latentfarm.states import Stage
from latentfarm.validation import complete
from tests.drawing import drawn_picture
from tests.integration.test_parity_modes import BESIDE, NAME
from tests.rig import Rig, largest_difference, with_bucket
from tests.stock_modes import refined_by_stock, stock_picture
from worker.engine.order import Handover, Inputs
from worker.latents import pack, unpack

if TYPE_CHECKING:
    from collections.abc import Iterator

    from PIL import Image

    from latentfarm.registry import ModelEntry
    from worker.engine.model import LoadedModel

SEED, SETS, CHUNK = 5, 60, 12
KINDS = [name for name, row in sorted(SAMPLERS.items()) if row.family == "discrete"]


@pytest.fixture(scope="module")
def alone(tiny: LoadedModel) -> Iterator[Rig]:
    with Rig(with_bucket(tiny, 1)) as rig:
        yield rig


def drawn(rng: random.Random) -> dict[str, Any]:
    sampler = rng.choice(KINDS)
    refiner = {
        "mode": "only",
        "strength": rng.choice([0.3, 0.5, 0.8, 1.0]),
        "guidance_scale": rng.choice([None, 0.9, 8.0]),
        "num_inference_steps": rng.choice([None, 4, 9]),
        "aesthetic_score": rng.uniform(1, 10),
    }
    fields = {"prompt": "a red circle", "sampler": sampler, "num_inference_steps": rng.randint(4, 11)}
    if SAMPLERS[sampler].takes_eta and rng.random() < 0.5:
        fields["eta"] = 0.7
    if rng.random() < 0.3:
        fields |= {"width": 72, "height": 80}
    given = {name: value for name, value in refiner.items() if value is not None}
    return {**fields, **rng.choice(BESIDE), "image": NAME, "refiner": given}


def drawn_cases(entry: ModelEntry) -> list[tuple[RenderSpec, RenderSpec, int, Image.Image]]:
    """As a user sends it, complete, the seed, and the picture; what the farm refuses is drawn again."""
    rng = random.Random(SEED)
    found: list[tuple[RenderSpec, RenderSpec, int, Image.Image]] = []
    while len(found) < SETS:
        given = RenderSpec.model_validate(drawn(rng))
        seed, size = rng.randrange(2**53), rng.choice([(64, 64), (76, 68), (100, 90)])
        try:
            spec = fit_pictures(complete(given, entry), entry, (size[1], size[0]))
        except InvalidInput:
            continue
        found.append((given, spec, seed, drawn_picture(seed, *size)))
    return found


@pytest.mark.parametrize(
    "chunk", [0, *(pytest.param(n, marks=pytest.mark.long) for n in range(1, SETS // CHUNK))]
)
def test_a_picture_is_refined_as_by_stock(
    chunk: int, alone: Rig, tiny: LoadedModel, tiny_entry: ModelEntry
) -> None:
    wrong = {}
    for given, spec, seed, picture in drawn_cases(tiny_entry)[chunk * CHUNK : (chunk + 1) * CHUNK]:
        farm = alone.picture(alone.submit(spec, seed, inputs=Inputs(picture))).pixels
        found = largest_difference(farm, stock_picture(tiny, given, seed, Inputs(picture)))
        if found > 0:
            wrong[given.model_dump_json(exclude_defaults=True)] = found
    assert wrong == {}


@pytest.mark.parametrize("sampler", ["euler", "dpmpp_2m_sde", "heun", "ddpm"])
def test_kept_latents_are_refined_as_by_stock_with_other_settings(
    sampler: str, alone: Rig, tiny: LoadedModel, tiny_entry: ModelEntry
) -> None:
    """One base run; then the refiner as often as one likes, each as stock's second call."""
    common = {
        "prompt": "a red circle",
        "sampler": sampler,
        "num_inference_steps": 8,
        "width": 64,
        "height": 64,
    }
    first = RenderSpec.model_validate({**common, "refiner": {"mode": "image"}})
    kept = alone.result(alone.submit(complete(first, tiny_entry), 11))
    assert isinstance(kept, Handover)
    pictures = []
    for refiner in (
        {"strength": 0.3},
        {"strength": 0.9, "guidance_scale": 9.0, "aesthetic_score": 2.0},
        {"strength": 0.5, "num_inference_steps": 13, "negative_aesthetic_score": 6.0},
    ):
        given = RenderSpec.model_validate({**common, "refiner": {"mode": "image", **refiner}})
        order = alone.submit(complete(given, tiny_entry), 11, stage=Stage.REFINE, handover=unpack(pack(kept)))
        pictures.append(alone.picture(order).pixels)
        assert largest_difference(pictures[-1], refined_by_stock(tiny, given, 11, kept.latents)) == 0
    assert not torch.equal(pictures[0], pictures[1])
    assert not torch.equal(pictures[0], pictures[2])


def test_notes_of_a_refiner_alone_name_no_base(alone: Rig, tiny: LoadedModel, tiny_entry: ModelEntry) -> None:
    given = RenderSpec(prompt="a", image=NAME, refiner={"mode": "only"}, num_inference_steps=10)
    spec = fit_pictures(complete(given, tiny_entry), tiny_entry, (64, 64))
    notes = alone.picture(alone.submit(spec, 3, inputs=Inputs(drawn_picture(3)))).notes
    assert notes["refiner_hash"] == tiny.hashes[Stage.REFINE]
    assert notes["steps_done"] == "3"
    assert "model_hash" not in notes
    assert "base_steps_done" not in notes
