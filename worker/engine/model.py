"""A model on a device: the pipelines of the stages that this worker serves."""

from __future__ import annotations

import contextlib
import os
import threading
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch

from latentfarm.errors import ModelError
from latentfarm.states import Stage
from worker.engine.weights import component_folders, hash_weights

if TYPE_CHECKING:
    from collections.abc import Iterable

    from latentfarm.registry import ModelEntry


@dataclass(slots=True)
class LoadedModel:
    """What the engine needs of a model; shared by all of its samples and never altered by one.

    Attributes:
        pipelines: per stage, a diffusers pipeline whose *methods* are used, never its call.
        hashes: per stage, of the weights; of the base also where only the refiner is loaded, if its files
            are here.
        bucket: rows of one UNet forward; 1: one sample at a time with just its own rows.
        encoding: held while prompts are encoded: the fast tokenizers are not safe in two threads.
    """

    name: str
    bucket: int
    device: torch.device
    dtype: torch.dtype
    pipelines: dict[Stage, Any]
    hashes: dict[Stage, str]
    encoding: threading.Lock = field(default_factory=threading.Lock)

    def pipeline(self, stage: Stage) -> Any:
        """The pipeline of a stage.

        Raises:
            ModelError: this worker did not load it.
        """
        if stage not in self.pipelines:
            raise ModelError(f"stage {stage.label} of model {self.name} is not loaded here")
        return self.pipelines[stage]


def load_model(
    entry: ModelEntry, stages: Iterable[Stage], device: str = "cpu", dtype: str | None = None
) -> LoadedModel:
    """Loads the pipelines of some stages; nothing is ever downloaded.

    Args:
        entry: from the registry.
        stages: `Stage.BASE`, `Stage.REFINE` or both; only their UNets are loaded.
        device: as torch names it: `cpu`, `cuda`, `cuda:1`, `mps`.
        dtype: `float32`, `float16` or `bfloat16` in place of the entry's.

    Raises:
        ModelError: a file is missing, cut short, or of another shape than its config says.
    """
    os.environ.setdefault("HF_HUB_OFFLINE", "1")
    _hide_progress_bars()
    folders = {Stage.BASE: Path(entry.base)}
    if entry.refiner is not None:
        folders[Stage.REFINE] = Path(entry.refiner)
    wanted = [stage for stage in stages if stage in folders]
    hashes = {stage: hash_weights(folders[stage], entry.variant) for stage in wanted}
    if Stage.BASE not in hashes:
        # Latents say which base they come from; without its files only the names are compared.
        with contextlib.suppress(ModelError):
            hashes[Stage.BASE] = hash_weights(folders[Stage.BASE], entry.variant)
    model = LoadedModel(
        name=entry.name,
        bucket=entry.bucket,
        device=torch.device(device),
        dtype=getattr(torch, dtype or entry.dtype),
        pipelines={},
        hashes=hashes,
    )
    for stage in wanted:
        model.pipelines[stage] = _load_pipeline(stage, folders[stage], entry.variant, model)
    return model


def _hide_progress_bars() -> None:
    """They are for people at a terminal; here they would end up in a service's log."""
    from diffusers.utils import logging as diffusers_logging
    from transformers.utils import logging as transformers_logging

    diffusers_logging.disable_progress_bar()
    transformers_logging.disable_progress_bar()


def _load_pipeline(stage: Stage, folder: Path, variant: str | None, model: LoadedModel) -> Any:
    from diffusers import StableDiffusionXLImg2ImgPipeline, StableDiffusionXLPipeline

    cls: Any = StableDiffusionXLPipeline if stage is Stage.BASE else StableDiffusionXLImg2ImgPipeline
    options = {"local_files_only": True, "use_safetensors": True, "variant": variant}
    try:
        networks = _load_networks(folder, model.dtype, options)
        pipeline = cls.from_pretrained(
            folder, add_watermarker=False, dtype=model.dtype, **networks, **options
        )
    except ModelError:
        raise
    except Exception as error:  # whatever a library says about files, it is the model's fault
        raise ModelError(f"cannot load {folder}: {error}") from error
    return place(pipeline, model.device)


def _load_networks(folder: Path, dtype: torch.dtype, options: dict[str, Any]) -> dict[str, Any]:
    """All that has weights, one by one: only so do the libraries tell which tensors were missing.

    Otherwise those would be drawn at random, and the pictures be noise.
    """
    from diffusers import AutoencoderKL, UNet2DConditionModel
    from transformers import CLIPTextModel, CLIPTextModelWithProjection

    classes: dict[str, Any] = {
        "unet": UNet2DConditionModel,
        "vae": AutoencoderKL,
        "text_encoder": CLIPTextModel,
        "text_encoder_2": CLIPTextModelWithProjection,
    }
    networks: dict[str, Any] = {}
    for component in component_folders(folder):
        name = component.name
        if name not in classes:
            continue
        try:
            networks[name], told = classes[name].from_pretrained(
                folder, subfolder=name, dtype=dtype, output_loading_info=True, **options
            )
        except Exception as error:  # whatever a library says about files, it is the model's fault
            raise ModelError(f"cannot load {component}: {error}") from error
        wrong = [*told["missing_keys"], *told["mismatched_keys"]]
        if wrong:
            raise ModelError(f"{folder / name} lacks {len(wrong)} tensors, such as {wrong[0]}")
    return networks


def place(pipeline: Any, device: torch.device) -> Any:
    """Puts a pipeline on its device, in the layout and precision that the engine relies on."""
    vae = pipeline.vae
    if vae.dtype == torch.float16 and vae.config.force_upcast:
        # Stock casts this VAE to float32 and back around each decode; here it is shared by
        # threads, so it is held in float32: the same numbers without the flip.
        vae.to(torch.float32)
    pipeline.to(device)
    if device.type == "cuda":
        pipeline.unet.to(memory_format=torch.channels_last)
        vae.to(memory_format=torch.channels_last)
    pipeline.set_progress_bar_config(disable=True)
    return pipeline
