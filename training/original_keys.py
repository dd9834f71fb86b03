"""Names of weights in the original SDXL checkpoints, from the names that diffusers gives them."""

import re
from collections.abc import Iterable
from typing import Final

import torch
from torch import Tensor

Weights = dict[str, Tensor]
_RESNET: Final = {
    "norm1": "in_layers.0",
    "conv1": "in_layers.2",
    "norm2": "out_layers.0",
    "conv2": "out_layers.3",
    "time_emb_proj": "emb_layers.1",
    "conv_shortcut": "skip_connection",
}
_UNET_ENDS: Final = {
    "time_embedding.linear_1": "time_embed.0",
    "time_embedding.linear_2": "time_embed.2",
    "add_embedding.linear_1": "label_emb.0.0",
    "add_embedding.linear_2": "label_emb.0.2",
    "conv_in": "input_blocks.0.0",
    "conv_norm_out": "out.0",
    "conv_out": "out.2",
}
_VAE: Final = (
    (r"mid_block\.resnets\.0\.", "mid.block_1."),
    (r"mid_block\.resnets\.1\.", "mid.block_2."),
    (r"mid_block\.attentions\.0\.", "mid.attn_1."),
    ("conv_norm_out", "norm_out"),
    ("conv_shortcut", "nin_shortcut"),
    (r"group_norm\.", "norm."),
    (r"to_out\.0\.", "proj_out."),
    (r"to_([qkv])\.", r"\1."),
)
_OPEN_CLIP: Final = (
    ("embeddings.token_embedding.weight", "token_embedding.weight"),
    ("embeddings.position_embedding.weight", "positional_embedding"),
    ("final_layer_norm.", "ln_final."),
    ("encoder.layers.", "transformer.resblocks."),
    ("layer_norm1", "ln_1"),
    ("layer_norm2", "ln_2"),
    (".fc1.", ".c_fc."),
    (".fc2.", ".c_proj."),
    (".self_attn.", ".attn."),
)


def original_unet(weights: Weights, layers: int) -> Weights:
    """Names under `model.diffusion_model.`; `layers` is the UNet's `layers_per_block`."""
    attended = {key.rsplit(".attentions.", 1)[0] for key in weights if ".attentions." in key}
    return {
        f"model.diffusion_model.{_unet_name(key, layers + 1, attended)}": value
        for key, value in weights.items()
    }


def _unet_name(key: str, stride: int, attended: set[str]) -> str:
    for ours, theirs in _UNET_ENDS.items():
        if key.startswith(f"{ours}."):
            return key.replace(ours, theirs, 1)
    if found := re.match(r"mid_block\.(resnets|attentions)\.(\d)\.(.*)", key):
        kind, number, rest = found.groups()
        return f"middle_block.{2 * int(number) + (kind == 'attentions')}.{_inside(kind, rest)}"
    found = re.match(r"((down|up)_blocks\.(\d+))\.(\w+)\.(\d+)\.(.*)", key)
    if found is None:
        raise ValueError(f"no original name is known for {key}")
    block, way, number, kind, layer, rest = found.groups()
    if kind == "downsamplers":
        return f"input_blocks.{(int(number) + 1) * stride}.0.{rest.replace('conv', 'op')}"
    if kind == "upsamplers":
        return f"output_blocks.{(int(number) + 1) * stride - 1}.{1 + (block in attended)}.{rest}"
    place = int(number) * stride + int(layer)
    blocks = f"input_blocks.{place + 1}" if way == "down" else f"output_blocks.{place}"
    return f"{blocks}.{int(kind == 'attentions')}.{_inside(kind, rest)}"


def _inside(kind: str, rest: str) -> str:
    """Names inside a resnet differ, those inside a transformer do not."""
    if kind == "attentions":
        return rest
    first, dot, last = rest.partition(".")
    return f"{_RESNET[first]}{dot}{last}"


def original_vae(weights: Weights, blocks: int) -> Weights:
    """Names under `first_stage_model.`; attention's linear layers were 1x1 convolutions."""
    renamed = {}
    for key, value in weights.items():
        name = _vae_block(key, blocks)
        is_convolution = ".attn_1." in name and value.ndim == 2
        renamed[f"first_stage_model.{name}"] = value[:, :, None, None] if is_convolution else value
    return renamed


def _vae_block(key: str, blocks: int) -> str:
    """The decoder's blocks count from the last."""
    found = re.match(r"(encoder|decoder)\.(down|up)_blocks\.(\d+)\.(\w+)\.(\d+)\.(.*)", key)
    if found is None:
        return _replaced(key, _VAE)
    half, way, number, kind, layer, rest = found.groups()
    number = number if way == "down" else str(blocks - 1 - int(number))
    inner = f"block.{layer}" if kind == "resnets" else f"{way}sample"
    return f"{half}.{way}.{number}.{inner}.{rest.replace('conv_shortcut', 'nin_shortcut')}"


def original_clip(weights: Weights, embedder: int) -> Weights:
    """The first encoder's names under `conditioner.embedders.N.transformer.text_model.`."""
    prefix = f"conditioner.embedders.{embedder}.transformer.text_model."
    return {prefix + key.removeprefix("text_model."): value for key, value in weights.items()}


def original_open_clip(weights: Weights, embedder: int) -> Weights:
    """The second encoder's names under `conditioner.embedders.N.model.`: one matrix for q, k and v."""
    prefix = f"conditioner.embedders.{embedder}.model."
    renamed: Weights = {}
    for key, value in weights.items():
        if key == "text_projection.weight":
            renamed[f"{prefix}text_projection"] = value.T.contiguous()
        elif ".q_proj." in key:
            triple = torch.cat([weights[key.replace(".q_proj.", f".{letter}_proj.")] for letter in "qkv"])
            name = _open_clip_name(key).replace(".q_proj.", ".in_proj_")
            renamed[prefix + name] = triple
        elif ".k_proj." not in key and ".v_proj." not in key:
            renamed[prefix + _open_clip_name(key)] = value
    return renamed


def _open_clip_name(key: str) -> str:
    name = key.removeprefix("text_model.")
    for ours, theirs in _OPEN_CLIP:
        name = name.replace(ours, theirs)
    return name


def _replaced(name: str, pairs: Iterable[tuple[str, str]]) -> str:
    for ours, theirs in pairs:
        name = re.sub(ours, theirs, name)
    return name
