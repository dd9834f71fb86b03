"""Stock pipelines with nothing of the farm in them, LoRAs and embeddings loaded as diffusers' guides do."""

from __future__ import annotations

from functools import lru_cache
from typing import TYPE_CHECKING, Any

import diffusers
import torch
from safetensors.torch import load_file

from benchmarks.equality.pictures import inputs_of
from latentfarm.states import Stage
from tests.stock_modes import stock_picture
from worker.engine.model import LoadedModel

if TYPE_CHECKING:
    from latentfarm.adapters import LoraUse
    from latentfarm.registry import ModelEntry, Registry
    from latentfarm.spec import RenderSpec
    from tests.floor import Move

_KEPT = 3
"""Models with adapters that are held at a time: the renders of one set share theirs."""


class Stock:
    """Renders specs as the user gave them.

    Args:
        registry: of the models that they name.
    """

    def __init__(self, registry: Registry) -> None:
        self._registry = registry
        self._plain = lru_cache(None)(self._load)
        self._adapted = lru_cache(_KEPT)(self._adapt)

    def picture(self, given: RenderSpec, seed: int, *, move: Move | None = None) -> torch.Tensor:
        """What stock makes of a spec: `[height, width, 3]`, uint8.

        Args:
            given: its pictures are data URLs.
            move: what is done to the initial latents.
        """
        if given.loras or given.embeddings:
            pipelines = self._adapted(given.model, given.loras, given.embeddings)
        else:
            pipelines = self._plain(given.model)
        model = LoadedModel(given.model, 1, torch.device("cpu"), torch.float32, pipelines, {})
        with torch.no_grad():
            return stock_picture(model, given, seed, inputs_of(given), move=move)

    def _load(self, name: str) -> dict[Stage, Any]:
        entry = self._registry.get(name)
        return load_pipelines(entry.base, entry.refiner or "")

    def _adapt(self, name: str, loras: tuple[LoraUse, ...], embeddings: tuple[str, ...]) -> dict[Stage, Any]:
        """Loaded for these adapters alone: they cannot all be taken out again.

        Copies of loaded networks would come sooner, but lie otherwise in memory, and kernels round by that.
        """
        entry, pipelines = self._registry.get(name), self._load(name)
        for stage, pipeline in pipelines.items():
            for embedding in embeddings:
                _teach(pipeline, entry, embedding)
            _use(pipeline, entry, [use for use in loras if entry.loras[use.name].stage == stage.label])
        return pipelines


def load_pipelines(base: str, refiner: str) -> dict[Stage, Any]:
    """Both stages of a model, from their folders."""
    classes: dict[Stage, tuple[Any, str]] = {
        Stage.BASE: (diffusers.StableDiffusionXLPipeline, base),
        Stage.REFINE: (diffusers.StableDiffusionXLImg2ImgPipeline, refiner),
    }
    pipelines = {
        stage: cls.from_pretrained(folder, local_files_only=True, add_watermarker=False)
        for stage, (cls, folder) in classes.items()
    }
    for pipeline in pipelines.values():
        pipeline.set_progress_bar_config(disable=True)
    return pipelines


def _teach(pipeline: Any, entry: ModelEntry, embedding: str) -> None:
    rows = load_file(entry.embeddings[embedding].file)
    for key, part in (("clip_l", ""), ("clip_g", "_2")):
        encoder = getattr(pipeline, f"text_encoder{part}")
        if encoder is not None:
            pipeline.load_textual_inversion(
                rows[key],
                token=entry.token_of(embedding),
                text_encoder=encoder,
                tokenizer=getattr(pipeline, f"tokenizer{part}"),
            )


def _use(pipeline: Any, entry: ModelEntry, uses: list[LoraUse]) -> None:
    names = [use.name.replace(".", "_") for use in uses]
    for name, use in zip(names, uses, strict=True):
        pipeline.load_lora_weights(entry.loras[use.name].file, adapter_name=name)
    if uses:
        pipeline.set_adapters(names, [use.weight for use in uses])
