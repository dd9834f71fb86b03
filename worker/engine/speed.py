"""Puts an entry's options for memory and speed into effect, or refuses what the device cannot do."""

from __future__ import annotations

import functools
import importlib.util
from typing import TYPE_CHECKING, Any

import torch
from torch.nn.attention import SDPBackend, sdpa_kernel

from latentfarm.errors import ModelError
from worker.engine.offload import Turns, stream
from worker.engine.regions import allow_many_forms, compile_decoder, compile_unet

if TYPE_CHECKING:
    from collections.abc import Iterable

    from latentfarm.registry import ModelEntry
    from latentfarm.speed import Speed

_KERNELS = {
    "flash": SDPBackend.FLASH_ATTENTION,
    "efficient": SDPBackend.EFFICIENT_ATTENTION,
    "cudnn": SDPBackend.CUDNN_ATTENTION,
    "math": SDPBackend.MATH,
}
_CUDA_ONLY = ("efficient", "cudnn", "xformers")


def check_speed(entry: ModelEntry, device: torch.device) -> None:
    """Refuses options that this device, or another option, does not go with.

    Raises:
        ModelError: names the option and why.
    """
    speed = entry.speed
    place = f"models.{entry.name}.speed"
    if speed.offload != "none" and device.type == "cpu":
        raise ModelError(f"{place}.offload: a CPU has nowhere to offload to")
    if speed.attention in _CUDA_ONLY and device.type != "cuda":
        raise ModelError(
            f"{place}.attention: {speed.attention} needs CUDA, this worker runs on {device.type}"
        )
    if speed.attention == "xformers" and importlib.util.find_spec("xformers") is None:
        raise ModelError(f"{place}.attention: the package xformers is not installed")
    if speed.compile != "none" and speed.offload != "none":
        raise ModelError(f"{place}.compile: does not go with offload, which moves what was compiled")
    if speed.cuda_graphs and device.type != "cuda":
        raise ModelError(f"{place}.cuda_graphs: needs CUDA, this worker runs on {device.type}")
    if speed.cuda_graphs and speed.offload != "none":
        raise ModelError(f"{place}.cuda_graphs: does not go with offload, which moves what was recorded")
    for option, on in (
        ("compile", speed.compile != "none"),
        ("fused_projections", speed.fused_projections),
        ("cuda_graphs", speed.cuda_graphs),
    ):
        if on and entry.loras:
            raise ModelError(f"{place}.{option}: does not go with LoRAs, which are switched between forwards")
    if speed.fused_projections and speed.attention == "xformers":
        raise ModelError(f"{place}.fused_projections: xformers has no fused form")


def apply_speed(speed: Speed, pipelines: Iterable[Any], device: torch.device) -> None:
    """Sets up the networks of a model. LoRAs are loaded already; networks shared by stages count once."""
    networks: dict[int, Any] = {}
    for pipeline in pipelines:
        _set_up_unet(speed, pipeline.unet, device)
        _set_up_vae(speed, pipeline.vae, device)
        for name in ("unet", "vae", "text_encoder", "text_encoder_2"):
            network = getattr(pipeline, name, None)
            if network is not None:
                networks[id(network)] = network
    if speed.offload == "model":
        turns = Turns(device)
        for network in networks.values():
            turns.take(network)
    elif speed.offload == "sequential":
        for network in networks.values():
            stream(network, device)


def _set_up_unet(speed: Speed, unet: Any, device: torch.device) -> None:
    _lay_out(speed, unet, device)
    if speed.fused_projections:
        unet.fuse_qkv_projections()
    if speed.attention == "xformers":
        unet.enable_xformers_memory_efficient_attention()
    elif speed.attention != "sdpa":
        # Not diffusers' set_attention_backend: SDXL's attention processors do not look at it.
        unet.forward = _under(unet.forward, _KERNELS[speed.attention])
    if speed.compile == "regional":
        compile_unet(unet)
    elif speed.compile == "whole":
        allow_many_forms()
        unet.compile(fullgraph=True, dynamic=False)


def _set_up_vae(speed: Speed, vae: Any, device: torch.device) -> None:
    _lay_out(speed, vae, device)
    if speed.compile != "none":
        compile_decoder(vae)
    if speed.vae_tiling:
        vae.enable_tiling()
    if speed.vae_slicing:
        vae.enable_slicing()


def _lay_out(speed: Speed, network: Any, device: torch.device) -> None:
    # Only a compiler keeps the layout: torch's own normalisation on CUDA copies into the other one and back.
    helps = device.type == "cuda" and speed.compile != "none"
    wanted = helps if speed.channels_last is None else speed.channels_last
    network.to(memory_format=torch.channels_last if wanted else torch.contiguous_format)


def _under(forward: Any, kernel: SDPBackend) -> Any:
    @functools.wraps(forward)
    def run(*args: Any, **named: Any) -> Any:
        with sdpa_kernel(kernel):
            return forward(*args, **named)

    return run


def least_rows(speed: Speed) -> int:
    """See `LoadedModel.least_rows`."""
    return 1 if speed.compile == "none" else 2


def notes_of_speed(speed: Speed) -> dict[str, str]:
    """What provenance says: options that change bits, where they are not the defaults."""
    plain = type(speed)()
    changed = {
        name: str(getattr(speed, name))
        for name in type(speed).model_fields
        if name not in {"offload", "vae_slicing"} and getattr(speed, name) != getattr(plain, name)
    }
    return {"speed": " ".join(f"{name}={value}" for name, value in changed.items())} if changed else {}
