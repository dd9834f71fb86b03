"""Equal to diffusers in half precision too, the VAE that only works in float32 included. On the CPU."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
import torch

from latentfarm.spec import RefinerSpec
from latentfarm.states import Stage
from tests.integration.test_engine_weighting import embeddings as compel_embeddings
from tests.rig import Rig, largest_difference, stock_image, with_bucket
from tests.stock_modes import stock_picture
from worker.engine.model import load_model

if TYPE_CHECKING:
    from latentfarm.registry import ModelEntry
    from tests.rig import MakeSpec
    from worker.engine.model import LoadedModel

pytestmark = pytest.mark.filterwarnings("ignore:.*upcast_vae.*:FutureWarning")  # stock calls it itself


@pytest.fixture(scope="module", params=["float16", "bfloat16"])
def half(request: pytest.FixtureRequest, tiny_entry: ModelEntry, tiny: LoadedModel) -> LoadedModel:
    return load_model(tiny_entry, [Stage.BASE, Stage.REFINE], dtype=request.param)


def test_the_vae_is_held_in_the_precision_that_stock_decodes_in(half: LoadedModel) -> None:
    vae = half.pipelines[Stage.BASE].vae
    assert vae.config.force_upcast
    assert vae.dtype == (torch.float32 if half.dtype is torch.float16 else torch.bfloat16)


@pytest.mark.parametrize(
    "fields",
    [
        {"sampler": "euler_ancestral"},
        {"sampler": "dpmpp_2m", "sigma_schedule": "karras", "guidance_rescale": 0.5},
        {"sampler": "ddim", "guidance_scale": 1.0},
    ],
)
def test_a_bucket_of_one_gives_stocks_image(
    fields: dict[str, Any], half: LoadedModel, make: MakeSpec
) -> None:
    spec = make(**fields, refiner=RefinerSpec())
    with Rig(with_bucket(half, 1)) as rig:
        farm = rig.picture(rig.submit(spec, 5))
    assert largest_difference(farm.pixels, stock_image(half, spec, 5)) == 0


def test_weights_in_prompts_give_stocks_image(half: LoadedModel, make: MakeSpec) -> None:
    fields = {
        "prompt": "a (red)1.5 circle, (blue)0.3",
        "negative_prompt": "dark+",
        "prompt_weighting": "compel",
    }
    spec = make(**fields, sampler="euler", refiner=RefinerSpec())
    with Rig(with_bucket(half, 1)) as rig:
        farm = rig.picture(rig.submit(spec, 5))
    stock = stock_picture(half, spec, 5, None, encode=compel_embeddings)
    assert largest_difference(farm.pixels, stock) == 0
