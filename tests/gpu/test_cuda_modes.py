"""The trained tiny pair on a CUDA device: every mode and sampler as stock has it there."""

from __future__ import annotations

import random
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
import torch

from latentfarm.registry import ModelEntry, load_registry
from latentfarm.states import Stage
from tests.floor import all_one_way, each_its_own_way
from tests.integration.test_parity_modes import Case, differences, drawn_cases
from tests.rig import Rig, largest_difference, with_bucket
from tests.stock_modes import stock_picture
from worker.engine.model import load_model

if TYPE_CHECKING:
    from worker.engine.model import LoadedModel

pytestmark = [
    pytest.mark.gpu,
    pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device"),
    pytest.mark.filterwarnings("ignore:.*upcast_vae.*:FutureWarning"),  # stock calls it itself
]
SETS, MIXED = 96, 32
STAGES = [Stage.BASE, Stage.REFINE]


@pytest.fixture(scope="module")
def entry() -> ModelEntry:
    return load_registry(Path(__file__).parents[2] / "models" / "models.toml").get("tiny")


@pytest.fixture(scope="module")
def cases(entry: ModelEntry) -> list[Case]:
    return drawn_cases(entry, SETS)


@pytest.fixture(scope="module")
def tiny(entry: ModelEntry) -> LoadedModel:
    return load_model(entry, STAGES, "cuda")


def test_a_bucket_of_one_gives_stocks_image(tiny: LoadedModel, cases: list[Case]) -> None:
    with Rig(with_bucket(tiny, 1)) as rig:
        assert differences(cases, rig, tiny) == {}


def test_a_mixed_bucket_stays_within_the_floor(tiny: LoadedModel, cases: list[Case]) -> None:
    """The floor: how far stock moves from itself when its initial latents are moved by 1e-6."""
    chosen = cases[:MIXED]
    with Rig(with_bucket(tiny, 8)) as rig:
        orders = [rig.submit(case.spec, case.seed, inputs=case.inputs) for case in chosen]
        farm = [rig.picture(order).pixels for order in orders]
    beyond = []
    for case, pixels in zip(chosen, farm, strict=True):
        plain, *moved = (
            stock_picture(tiny, case.given, case.seed, case.inputs, move=move)
            for move in (None, *all_one_way(), *each_its_own_way(case.seed))
        )
        floor = max(largest_difference(plain, other) for other in moved)
        if (found := largest_difference(pixels, plain)) > max(floor, 1):
            beyond.append((found, floor, case.given.model_dump_json(exclude_defaults=True)))
    assert beyond == []


def test_reproducible_whatever_rides_along(tiny: LoadedModel, cases: list[Case]) -> None:
    chosen = [case._replace(spec=case.spec.model_copy(update={"reproducible": True})) for case in cases[:16]]
    alone = []
    for case in chosen:
        with Rig(with_bucket(tiny, 8)) as rig:
            alone.append(rig.picture(rig.submit(case.spec, case.seed, inputs=case.inputs)).pixels)
    order = random.Random(1).sample(range(len(chosen)), len(chosen))
    with Rig(with_bucket(tiny, 8)) as rig:
        orders = {i: rig.submit(chosen[i].spec, chosen[i].seed, inputs=chosen[i].inputs) for i in order}
        wrong = [i for i, sent in orders.items() if not torch.equal(rig.picture(sent).pixels, alone[i])]
    assert wrong == []
