"""Every part of SDXL, in miniature: the same classes and options, fewer channels."""

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

import torch
from diffusers import AutoencoderKL, EulerDiscreteScheduler, UNet2DConditionModel
from transformers import CLIPTextConfig, CLIPTextModel, CLIPTextModelWithProjection

if TYPE_CHECKING:
    from collections.abc import Callable

# Of the encoders; the base UNet sees both side by side. They must differ, as SDXL's do: it is by
# the width that a single-file checkpoint's encoders are told apart.
TEXT_WIDTH: Final = 40
TEXT_WIDTH_2: Final = 56
_HEAD: Final = 8  # width of a text encoder's attention head
POOLED_WIDTH: Final = 64
TIME_ID_WIDTH: Final = 16  # per number of original size, crop and target size
NATIVE: Final = 128  # pixels
# A random output layer feeds its own errors back at every step; a small one keeps sampling calm.
CALM: Final = 0.05


@dataclass(frozen=True)
class Pair:
    """The parts of both pipelines. The refiner shares `text_encoder_2` and `vae`.

    `Any`, since diffusers ships too few types to check their use: a CLIPTextModel, a
    CLIPTextModelWithProjection, an AutoencoderKL and two UNet2DConditionModels.
    """

    text_encoder: Any
    text_encoder_2: Any
    vae: Any
    base: Any
    refiner: Any


def make_pair(vocabulary: int, seed: int) -> Pair:
    """Random weights for all parts, each part from a seed of its own derived from `seed`."""
    makers: tuple[Callable[[], Any], ...] = (
        lambda: CLIPTextModel(_text_config(vocabulary, TEXT_WIDTH, "quick_gelu")),
        lambda: CLIPTextModelWithProjection(_text_config(vocabulary, TEXT_WIDTH_2, "gelu")),
        _make_vae,
        _make_base,
        _make_refiner,
    )
    parts: list[Any] = []
    for number, make in enumerate(makers):
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed * 1000 + number)
            parts.append(make().eval())
    for unet in parts[-2:]:
        with torch.no_grad():
            unet.conv_out.weight.mul_(CALM)
    return Pair(*parts)


def make_scheduler() -> Any:
    """SDXL's own noise schedule and sampler."""
    return EulerDiscreteScheduler(
        beta_start=0.00085,
        beta_end=0.012,
        beta_schedule="scaled_linear",
        num_train_timesteps=1000,
        prediction_type="epsilon",
        interpolation_type="linear",
        timestep_spacing="leading",
        steps_offset=1,
        use_karras_sigmas=False,
    )


def _text_config(vocabulary: int, width: int, activation: str) -> CLIPTextConfig:
    return CLIPTextConfig(
        vocab_size=vocabulary,
        hidden_size=width,
        intermediate_size=4 * width,
        num_hidden_layers=3,
        num_attention_heads=width // _HEAD,
        projection_dim=POOLED_WIDTH,
        hidden_act=activation,
        max_position_embeddings=77,
        bos_token_id=0,
        pad_token_id=1,
        eos_token_id=2,  # as SDXL's configs: pools at the highest id
    )


def _make_vae() -> AutoencoderKL:
    return AutoencoderKL(
        down_block_types=("DownEncoderBlock2D",) * 4,
        up_block_types=("UpDecoderBlock2D",) * 4,
        block_out_channels=(16, 24, 40, 40),
        layers_per_block=1,
        latent_channels=4,
        norm_num_groups=8,
        sample_size=NATIVE,
        scaling_factor=0.13025,  # measured anew when the VAE is trained
        force_upcast=True,
    )


def _make_base() -> UNet2DConditionModel:
    return UNet2DConditionModel(
        down_block_types=("DownBlock2D", "CrossAttnDownBlock2D", "CrossAttnDownBlock2D"),
        up_block_types=("CrossAttnUpBlock2D", "CrossAttnUpBlock2D", "UpBlock2D"),
        block_out_channels=(48, 56, 64),
        attention_head_dim=(3, 4, 4),  # the number of heads, by the name that diffusers gives it
        cross_attention_dim=TEXT_WIDTH + TEXT_WIDTH_2,
        projection_class_embeddings_input_dim=POOLED_WIDTH + 6 * TIME_ID_WIDTH,
        **_unet_options(),
    )


def _make_refiner() -> UNet2DConditionModel:
    return UNet2DConditionModel(
        down_block_types=("DownBlock2D", "CrossAttnDownBlock2D", "CrossAttnDownBlock2D", "DownBlock2D"),
        up_block_types=("UpBlock2D", "CrossAttnUpBlock2D", "CrossAttnUpBlock2D", "UpBlock2D"),
        block_out_channels=(40, 40, 32, 24),
        attention_head_dim=(4, 4, 4, 3),
        cross_attention_dim=TEXT_WIDTH_2,
        projection_class_embeddings_input_dim=POOLED_WIDTH + 5 * TIME_ID_WIDTH,
        **_unet_options(),
    )


def _unet_options() -> dict[str, Any]:
    return {
        "sample_size": NATIVE // 8,
        "layers_per_block": 1,
        "transformer_layers_per_block": 1,
        "norm_num_groups": 8,
        "addition_embed_type": "text_time",
        "addition_time_embed_dim": TIME_ID_WIDTH,
        "use_linear_projection": True,
    }
