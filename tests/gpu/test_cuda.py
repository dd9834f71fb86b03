"""The engine on a CUDA device: SDXL at its real size with random weights, 1024x1024."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
import torch

from latentfarm.registry import ModelEntry
from latentfarm.spec import RefinerSpec, RenderSpec
from latentfarm.states import Stage
from latentfarm.validation import complete
from tests.gpu.full_size import BASE_PARAMETERS, REFINER_PARAMETERS, load_full_size
from tests.rig import Rig, largest_difference, stock_image, with_bucket

if TYPE_CHECKING:
    from collections.abc import Iterator

    from worker.engine.model import LoadedModel

pytestmark = [
    pytest.mark.gpu,
    pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device"),
    pytest.mark.filterwarnings("ignore:.*upcast_vae.*:FutureWarning"),  # stock calls it itself
]
TOKENIZERS = Path(__file__).parents[2] / "models" / "tiny" / "base"
ENTRY = ModelEntry(name="tiny", base="/nowhere", refiner="/nowhere")


@pytest.fixture(scope="module", params=[torch.bfloat16, torch.float16], ids=["bf16", "fp16"])
def sdxl(request: pytest.FixtureRequest) -> Iterator[LoadedModel]:
    yield load_full_size(TOKENIZERS, request.param, bucket=8)
    torch.cuda.empty_cache()


def spec(**fields: Any) -> RenderSpec:
    given = {"prompt": "a red circle", "num_inference_steps": 5, **fields}
    return complete(RenderSpec.model_validate(given), ENTRY)


def test_the_weights_have_the_real_shapes(sdxl: LoadedModel) -> None:
    counts = {
        stage: sum(parameter.numel() for parameter in pipeline.unet.parameters())
        for stage, pipeline in sdxl.pipelines.items()
    }
    assert counts == {Stage.BASE: BASE_PARAMETERS, Stage.REFINE: REFINER_PARAMETERS}


@pytest.mark.parametrize(
    "fields",
    [
        {},
        {"refiner": RefinerSpec()},
        {"sampler": "euler_ancestral", "refiner": RefinerSpec()},
        {"sampler": "dpmpp_2m", "sigma_schedule": "karras", "height": 768, "width": 1344},
        {"sampler": "ddim", "eta": 0.5, "guidance_scale": 1.0, "height": 512, "width": 512},
        {"sampler": "heun", "guidance_rescale": 0.7, "height": 512, "width": 512},
    ],
)
def test_a_bucket_of_one_gives_stocks_image(fields: dict[str, Any], sdxl: LoadedModel) -> None:
    """Same kernels on the same rows: no tolerance but the one of the promise."""
    asked = spec(**fields)
    with Rig(with_bucket(sdxl, 1)) as rig:
        found = rig.picture(rig.submit(asked, 11))
    with torch.no_grad():
        expected = stock_image(sdxl, asked, 11)
    assert found.pixels.shape == expected.shape
    assert found.pixels.float().std() > 1, "an image without any content proves nothing"
    assert largest_difference(found.pixels, expected) <= 1


def test_reproducible_whatever_rides_along(sdxl: LoadedModel) -> None:
    wishes = [
        (spec(reproducible=True, num_inference_steps=4 + i % 3, guidance_scale=1.0 if i == 2 else 5.0), i)
        for i in range(6)
    ]
    alone = []
    for wish, seed in wishes:
        with Rig(sdxl) as rig:
            alone.append(rig.picture(rig.submit(wish, seed)).pixels)
    with Rig(sdxl) as rig:
        rig.submit(spec(num_inference_steps=3), 99)
        together = [picture.pixels for picture in rig.pictures(wishes[::-1])][::-1]
    assert all(torch.equal(left, right) for left, right in zip(alone, together, strict=True))
