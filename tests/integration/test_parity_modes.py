"""Equal to diffusers in every mode: image-to-image, inpainting, and the refiner after each of them."""

from __future__ import annotations

import random
from typing import TYPE_CHECKING, Any, NamedTuple

import pytest

from latentfarm.errors import InvalidInput
from latentfarm.mode_rules import fit_pictures
from latentfarm.samplers import SAMPLERS
from latentfarm.spec import RenderSpec
from latentfarm.validation import complete
from tests.drawing import drawn_mask, drawn_picture
from tests.floor import all_one_way, each_its_own_way
from tests.rig import Rig, largest_difference, with_bucket
from tests.stock_modes import stock_picture
from worker.engine.order import Inputs

if TYPE_CHECKING:
    from collections.abc import Iterator

    from latentfarm.registry import ModelEntry
    from worker.engine.model import LoadedModel

SEED, SETS, CHUNK = 4, 240, 12
NAME = "sha256:" + "0" * 64
MODES = ("text", "image", "inpaint", "crop")
KINDS = [name for name, row in sorted(SAMPLERS.items()) if row.family == "discrete"]
#: Guidance below 1, a schedule of one's own, sizes: what the modes have in common with text-to-image
#: has tests of its own; here it only has to go along.
BESIDE: list[dict[str, Any]] = [
    {},
    {"guidance_scale": 1.0},
    {"guidance_scale": 9.0, "guidance_rescale": 0.6},
    {"negative_prompt": "red", "prompt_2": "a green square", "clip_skip": 1},
    {"original_size": (32, 64), "crops_coords_top_left": (8, 16), "target_size": (96, 64)},
    {"negative_target_size": (256, 256)},
    {"negative_original_size": (16, 16), "negative_crops_coords_top_left": (4, 8)},
]


class Case(NamedTuple):
    """As a user would send it, complete, and what it starts from."""

    given: RenderSpec
    spec: RenderSpec
    seed: int
    inputs: Inputs | None


def drawn_fields(rng: random.Random, mode: str) -> dict[str, Any]:
    sampler = rng.choice(KINDS)
    fields: dict[str, Any] = {
        "prompt": rng.choice(["a red circle", "two green squares on black"]),
        "sampler": sampler,
        "num_inference_steps": rng.randint(4, 11),
        **rng.choice(BESIDE),
    }
    if rng.random() < 0.3:
        fields["sigma_schedule"] = rng.choice(["default", *SAMPLERS[sampler].sigma_schedules])
    if SAMPLERS[sampler].takes_timesteps and "sigma_schedule" not in fields and rng.random() < 0.2:
        fields["timesteps"] = sorted(rng.sample(range(1, 1000), rng.randint(4, 9)), reverse=True)
    if SAMPLERS[sampler].takes_eta and rng.random() < 0.5:
        fields["eta"] = 0.7
    if mode != "text":
        fields |= {"image": NAME} | (
            {"strength": rng.choice([0.25, 0.5, 0.8, 0.95, 1.0])} if rng.random() < 0.8 else {}
        )
    if mode in ("inpaint", "crop"):
        fields["mask_image"] = NAME
    if mode != "image" or rng.random() < 0.4:
        fields |= {"width": rng.choice([64, 72]), "height": rng.choice([64, 80])}
    if mode == "crop":
        fields["padding_mask_crop"] = rng.choice([0, 5, 32])
    elif mode == "text" or rng.random() < 0.65:
        fields["refiner"] = drawn_refiner(
            rng, "image" if mode == "text" else rng.choice(["image", "ensemble"])
        )
    return fields


def drawn_refiner(rng: random.Random, mode: str) -> dict[str, Any]:
    fields: dict[str, Any] = {"mode": mode}
    options: dict[str, Any] = {
        "guidance_scale": rng.choice([0.9, 3.0, 8.0]),
        "aesthetic_score": rng.uniform(1, 10),
    }
    if mode == "ensemble":
        fields["high_noise_frac"] = rng.choice([0.1, 0.3, 0.5, 0.8, 0.95])
    else:
        options |= {"strength": rng.choice([0.3, 0.6, 1.0]), "num_inference_steps": rng.randint(4, 9)}
    return fields | {name: value for name, value in options.items() if rng.random() < 0.5}


def drawn_cases(entry: ModelEntry, count: int) -> list[Case]:
    """Modes in turn; what the farm refuses is drawn again."""
    rng = random.Random(SEED)
    found: list[Case] = []
    while len(found) < count:
        mode = MODES[len(found) % len(MODES)]
        given = RenderSpec.model_validate(drawn_fields(rng, mode))
        seed, size = rng.randrange(2**53), rng.choice([(64, 64), (76, 68), (100, 90)])
        inputs = None
        if mode != "text":
            mask = drawn_mask(seed, *size) if mode in ("inpaint", "crop") else None
            inputs = Inputs(drawn_picture(seed, *size), mask)
        try:
            spec = complete(given, entry)
            if inputs is not None:
                spec = fit_pictures(spec, entry, (size[1], size[0]))
        except InvalidInput:
            continue
        found.append(Case(given, spec, seed, inputs))
    return found


def differences(cases: list[Case], rig: Rig, model: LoadedModel) -> dict[str, int]:
    """Where the farm's image is not stock's, and by how much."""
    wrong = {}
    for case in cases:
        farm = rig.picture(rig.submit(case.spec, case.seed, inputs=case.inputs)).pixels
        difference = largest_difference(farm, stock_picture(model, case.given, case.seed, case.inputs))
        if difference > 0:
            wrong[case.given.model_dump_json(exclude_defaults=True)] = difference
    return wrong


@pytest.fixture(scope="module")
def cases(tiny_entry: ModelEntry) -> list[Case]:
    return drawn_cases(tiny_entry, SETS)


@pytest.fixture(scope="module")
def alone(tiny: LoadedModel) -> Iterator[Rig]:
    with Rig(with_bucket(tiny, 1)) as rig:
        yield rig


@pytest.mark.parametrize(
    "chunk", [0, *(pytest.param(n, marks=pytest.mark.long) for n in range(1, SETS // CHUNK))]
)
def test_a_bucket_of_one_gives_stocks_image(
    chunk: int, cases: list[Case], alone: Rig, tiny: LoadedModel
) -> None:
    assert differences(cases[chunk * CHUNK : (chunk + 1) * CHUNK], alone, tiny) == {}


@pytest.mark.parametrize("count", [6, pytest.param(96, marks=pytest.mark.long)])
def test_a_mixed_bucket_stays_within_the_floor(count: int, cases: list[Case], tiny: LoadedModel) -> None:
    """The floor: how far stock moves from itself when its initial latents are moved by 1e-6."""
    chosen = cases[-count:]
    with Rig(with_bucket(tiny, 8)) as rig:
        orders = [rig.submit(case.spec, case.seed, inputs=case.inputs) for case in chosen]
        farm = [rig.picture(order).pixels for order in orders]
    beyond = {}
    for case, pixels in zip(chosen, farm, strict=True):
        stock = stock_picture(tiny, case.given, case.seed, case.inputs)
        floor = max(
            largest_difference(stock, stock_picture(tiny, case.given, case.seed, case.inputs, move=move))
            for move in (*all_one_way(), *each_its_own_way(case.seed))
        )
        found = largest_difference(pixels, stock)
        if found > max(floor, 1):
            beyond[case.given.model_dump_json(exclude_defaults=True)] = (found, floor)
    assert beyond == {}
