"""Reads the networks of a stage, each in the dtype that it is held in."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import torch

from latentfarm.errors import ModelError

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable

    from worker.engine.sources import Component, Source


def load_networks(pipeline: Any, source: Source, skip: Collection[str] = ()) -> dict[str, Any]:
    """All components of a stage that have weights.

    Args:
        pipeline: class of the stage's pipeline: it knows the names inside of whole checkpoints.
        skip: components that are in memory already.

    Raises:
        ModelError: a tensor is missing, or of another shape than the config says.
    """
    wanted = [one for one in source.components if one.name in classes() and one.name not in skip]
    networks: dict[str, Any] = {}
    for component in wanted:
        if component.single and not component.own:
            continue
        load = _from_file if component.single else _from_folder
        try:
            networks[component.name] = load(component)
        except ModelError:
            raise
        except Exception as error:  # whatever a library says about files, it is the model's fault
            raise ModelError(f"cannot load {component.config}: {error}") from error
    networks |= _from_checkpoint(pipeline, source, wanted, networks)
    for component in wanted:
        _check_filled(component, networks[component.name])
    return networks


def classes() -> dict[str, Any]:
    """The class of each component that has weights."""
    from diffusers import AutoencoderKL, UNet2DConditionModel
    from transformers import CLIPTextModel, CLIPTextModelWithProjection

    return {
        "unet": UNet2DConditionModel,
        "vae": AutoencoderKL,
        "text_encoder": CLIPTextModel,
        "text_encoder_2": CLIPTextModelWithProjection,
    }


def _from_folder(component: Component) -> Any:
    """One by one: only so do the libraries tell which tensors were missing.

    Otherwise those would be drawn at random, and the pictures be noise.
    """
    network, told = classes()[component.name].from_pretrained(
        component.config,
        output_loading_info=True,
        variant=component.variant,
        local_files_only=True,
        use_safetensors=True,
        dtype=getattr(torch, component.dtype),
    )
    wrong = [*told["missing_keys"], *told["mismatched_keys"]]
    if wrong:
        raise ModelError(f"{component.config} lacks {len(wrong)} tensors, such as {wrong[0]}")
    return network


def _from_file(component: Component) -> Any:
    """A file with one network, under diffusers' names or the original ones."""
    return classes()[component.name].from_single_file(
        str(component.files[0]),
        config=str(component.config),
        local_files_only=True,
        torch_dtype=getattr(torch, component.dtype),
    )


def _from_checkpoint(
    pipeline: Any, source: Source, wanted: Iterable[Component], loaded: dict[str, Any]
) -> dict[str, Any]:
    """The components of a checkpoint that holds them all; read once for each dtype that is asked for."""
    parts = [one for one in wanted if one.single and not one.own]
    found: dict[str, Any] = {}
    for dtype in sorted({one.dtype for one in parts}):
        file = parts[0].files[0]
        try:
            whole = pipeline.from_single_file(
                str(file),
                config=str(source.configs),
                local_files_only=True,
                torch_dtype=getattr(torch, dtype),
                add_watermarker=False,
                **loaded,
            )
        except Exception as error:  # such as a tensor that is missing
            raise ModelError(f"cannot load {file}: {error}") from error
        found |= {one.name: getattr(whole, one.name) for one in parts if one.dtype == dtype}
    return found


def _check_filled(component: Component, network: Any) -> None:
    """A checkpoint's readers leave tensors that they did not find without any values."""
    empty = [name for name, tensor in network.named_parameters() if tensor.is_meta]
    if empty:
        raise ModelError(f"{component.files[0]} lacks {len(empty)} tensors of {component.name}: {empty[0]}")
