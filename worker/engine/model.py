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
from worker.engine.pipelines import load_pipeline
from worker.engine.weights import hash_weights

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
    places = {Stage.BASE: (entry.base, entry.revision)}
    if entry.refiner is not None:
        places[Stage.REFINE] = (entry.refiner, entry.refiner_revision)
    folders = {stage: _folder(*places[stage]) for stage in stages if stage in places}
    hashes = {stage: hash_weights(folder, entry.variant) for stage, folder in folders.items()}
    if Stage.BASE not in hashes:
        # Latents say which base they come from; without its files only the names are compared.
        with contextlib.suppress(ModelError):
            hashes[Stage.BASE] = hash_weights(_folder(*places[Stage.BASE]), entry.variant)
    model = LoadedModel(
        name=entry.name,
        bucket=entry.bucket,
        device=torch.device(device),
        dtype=getattr(torch, dtype or entry.dtype),
        pipelines={},
        hashes=hashes,
    )
    for stage, folder in folders.items():
        model.pipelines[stage] = load_pipeline(stage, folder, entry.variant, model.dtype, model.device)
    return model


def _folder(place: str, revision: str | None) -> Path:
    """A folder as it is; a hub id at its revision from the local cache."""
    if revision is None:
        return Path(place)
    from huggingface_hub import snapshot_download
    from huggingface_hub.errors import HFValidationError, LocalEntryNotFoundError

    try:
        return Path(snapshot_download(place, revision=revision, local_files_only=True))
    except (LocalEntryNotFoundError, HFValidationError) as error:
        raise ModelError(f"{place} at {revision} is not in the local cache: {error}") from error
