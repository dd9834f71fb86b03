"""SDXL base and refiner at their real size, on torch's meta device: shapes and counts without the weights."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from diffusers import AutoencoderKL, UNet2DConditionModel
from transformers import CLIPTextModel, CLIPTextModelWithProjection

from latentfarm.states import Stage
from tests.gpu.full_size import (
    BASE_PARAMETERS,
    BASE_UNET,
    ENCODER,
    ENCODER_2,
    REFINER_PARAMETERS,
    REFINER_UNET,
    VAE,
    text_config,
)

SIZES = (512, 768, 1024)
UNETS: dict[Stage, tuple[dict[str, Any], int, int, int]] = {
    # config, parameters, width of the prompt embeddings, numbers of size conditioning
    Stage.BASE: (BASE_UNET, BASE_PARAMETERS, 2048, 6),
    Stage.REFINE: (REFINER_UNET, REFINER_PARAMETERS, 1280, 5),
}


def count(network: torch.nn.Module) -> int:
    return sum(parameter.numel() for parameter in network.parameters())


@pytest.fixture(scope="module", params=UNETS, ids=lambda stage: stage.label)
def stage(request: pytest.FixtureRequest) -> Stage:
    return Stage(request.param)


@pytest.fixture(scope="module")
def unet(stage: Stage) -> Any:
    with torch.device("meta"):
        return UNet2DConditionModel(**UNETS[stage][0])


@pytest.fixture(scope="module")
def vae() -> Any:
    with torch.device("meta"):
        return AutoencoderKL(**VAE)


def test_the_unets_have_the_published_number_of_parameters(stage: Stage, unet: Any) -> None:
    assert count(unet) == UNETS[stage][1]


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize(
    "rows", [pytest.param(1, marks=pytest.mark.long), 2, pytest.param(8, marks=pytest.mark.long)]
)
def test_latents_of_each_size_pass_the_unets(size: int, rows: int, stage: Stage, unet: Any) -> None:
    _, _, width, numbers = UNETS[stage]
    latents = torch.empty(rows, 4, size // 8, size // 8, device="meta")
    with torch.no_grad():
        noise = unet(
            latents,
            torch.empty(rows, device="meta"),
            encoder_hidden_states=torch.empty(rows, 77, width, device="meta"),
            added_cond_kwargs={
                "text_embeds": torch.empty(rows, 1280, device="meta"),
                "time_ids": torch.empty(rows, numbers, device="meta"),
            },
            return_dict=False,
        )[0]
    assert noise.shape == latents.shape


@pytest.mark.parametrize("numbers", [4, 8])
def test_the_wrong_number_of_sizes_does_not_pass(numbers: int, stage: Stage, unet: Any) -> None:
    """The base takes six numbers, the refiner five: one stage's conditioning must not fit the other."""
    with pytest.raises(RuntimeError), torch.no_grad():
        unet(
            torch.empty(2, 4, 64, 64, device="meta"),
            torch.empty(2, device="meta"),
            encoder_hidden_states=torch.empty(2, 77, UNETS[stage][2], device="meta"),
            added_cond_kwargs={
                "text_embeds": torch.empty(2, 1280, device="meta"),
                "time_ids": torch.empty(2, numbers, device="meta"),
            },
        )


@pytest.mark.parametrize("size", SIZES)
def test_pictures_of_each_size_pass_the_vae(size: int, vae: Any) -> None:
    with torch.no_grad():
        latents = vae.encode(torch.empty(1, 3, size, size, device="meta")).latent_dist.parameters
        picture = vae.decode(torch.empty(1, 4, size // 8, size // 8, device="meta"), return_dict=False)[0]
    assert latents.shape == (1, 8, size // 8, size // 8)  # mean and variance
    assert picture.shape == (1, 3, size, size)


def test_the_other_parts_have_the_published_number_of_parameters(vae: Any) -> None:
    with torch.device("meta"):
        first: Any = CLIPTextModel(text_config(*ENCODER))
        second: Any = CLIPTextModelWithProjection(text_config(*ENCODER_2))
    assert count(vae) == 83_653_863
    assert count(first) == 123_060_480
    assert count(second) == 694_659_840
    with torch.no_grad():
        found = second(torch.zeros(2, 77, dtype=torch.long, device="meta"), output_hidden_states=True)
    assert (found[0].shape, found.hidden_states[-2].shape) == ((2, 1280), (2, 77, 1280))
