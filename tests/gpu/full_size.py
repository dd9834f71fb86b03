"""SDXL base and refiner at their real size, with random weights, on a GPU. Nothing is downloaded."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import torch
from diffusers import (
    AutoencoderKL,
    EulerDiscreteScheduler,
    StableDiffusionXLImg2ImgPipeline,
    StableDiffusionXLPipeline,
    UNet2DConditionModel,
)
from transformers import CLIPTextConfig, CLIPTextModel, CLIPTextModelWithProjection, CLIPTokenizer

from latentfarm.states import Stage
from worker.engine.model import LoadedModel
from worker.engine.pipelines import place

if TYPE_CHECKING:
    from pathlib import Path

BASE_PARAMETERS, REFINER_PARAMETERS = 2_567_463_684, 2_259_526_660
_CALM = 0.05
"""The last layer of a random UNet feeds its own errors back at every step; a small one does not."""
_COMMON: dict[str, Any] = {
    "sample_size": 128,
    "addition_embed_type": "text_time",
    "addition_time_embed_dim": 256,
    "use_linear_projection": True,
    "layers_per_block": 2,
}
BASE_UNET: dict[str, Any] = {
    **_COMMON,
    "block_out_channels": [320, 640, 1280],
    "down_block_types": ["DownBlock2D", "CrossAttnDownBlock2D", "CrossAttnDownBlock2D"],
    "up_block_types": ["CrossAttnUpBlock2D", "CrossAttnUpBlock2D", "UpBlock2D"],
    "transformer_layers_per_block": [1, 2, 10],
    "attention_head_dim": [5, 10, 20],
    "cross_attention_dim": 2048,
    "projection_class_embeddings_input_dim": 2816,
}
REFINER_UNET: dict[str, Any] = {
    **_COMMON,
    "block_out_channels": [384, 768, 1536, 1536],
    "down_block_types": ["DownBlock2D", "CrossAttnDownBlock2D", "CrossAttnDownBlock2D", "DownBlock2D"],
    "up_block_types": ["UpBlock2D", "CrossAttnUpBlock2D", "CrossAttnUpBlock2D", "UpBlock2D"],
    "transformer_layers_per_block": 4,
    "attention_head_dim": [6, 12, 24, 24],
    "cross_attention_dim": 1280,
    "projection_class_embeddings_input_dim": 2560,
}
VAE: dict[str, Any] = {
    "block_out_channels": [128, 256, 512, 512],
    "down_block_types": ["DownEncoderBlock2D"] * 4,
    "up_block_types": ["UpDecoderBlock2D"] * 4,
    "latent_channels": 4,
    "layers_per_block": 2,
    "sample_size": 1024,
    "scaling_factor": 0.13025,
    "force_upcast": True,
}


ENCODER, ENCODER_2 = (768, 12, 12, "quick_gelu"), (1280, 32, 20, "gelu")


def text_config(width: int, layers: int, heads: int, activation: str) -> CLIPTextConfig:
    """One of SDXL's text encoders: hidden width, layers, heads, activation."""
    return CLIPTextConfig(
        hidden_size=width,
        intermediate_size=4 * width,
        num_hidden_layers=layers,
        num_attention_heads=heads,
        hidden_act=activation,
        projection_dim=width,
    )


def load_full_size(tokenizers: Path, dtype: torch.dtype, bucket: int) -> LoadedModel:
    """Both stages on the GPU.

    Args:
        tokenizers: folder of a model whose `tokenizer` and `tokenizer_2` are read.
    """
    torch.manual_seed(0)
    torch.set_default_dtype(dtype)
    try:
        with torch.device("cuda"):
            parts: dict[str, Any] = {
                "text_encoder": CLIPTextModel(text_config(*ENCODER)),
                "text_encoder_2": CLIPTextModelWithProjection(text_config(*ENCODER_2)),
                "vae": AutoencoderKL(**VAE),
            }
            base: Any = UNet2DConditionModel(**BASE_UNET)
            refiner: Any = UNet2DConditionModel(**REFINER_UNET)
    finally:
        torch.set_default_dtype(torch.float32)
    for unet in (base, refiner):
        unet.conv_out.weight.data.mul_(_CALM)
    parts |= {name: CLIPTokenizer.from_pretrained(tokenizers / name) for name in ("tokenizer", "tokenizer_2")}
    parts["scheduler"] = EulerDiscreteScheduler(
        beta_start=0.00085,
        beta_end=0.012,
        beta_schedule="scaled_linear",
        timestep_spacing="leading",
        steps_offset=1,
    )
    pipelines: dict[Stage, Any] = {}
    pipelines[Stage.BASE] = StableDiffusionXLPipeline(**parts, unet=base, add_watermarker=False)
    parts |= {"text_encoder": None, "tokenizer": None}
    pipelines[Stage.REFINE] = StableDiffusionXLImg2ImgPipeline(
        **parts, unet=refiner, requires_aesthetics_score=True, add_watermarker=False
    )
    device = torch.device("cuda")
    return LoadedModel(
        name="tiny",
        bucket=bucket,
        device=device,
        dtype=dtype,
        pipelines={stage: place(pipeline, device) for stage, pipeline in pipelines.items()},
        hashes={Stage.BASE: "random", Stage.REFINE: "random"},
    )
