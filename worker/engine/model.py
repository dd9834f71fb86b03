"""A model on a device: the pipelines of the stages that this worker serves."""

from __future__ import annotations

import contextlib
import os
import threading
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import torch

from latentfarm.errors import ModelError
from latentfarm.states import Stage
from worker.engine.adapters import Adapters, load_adapters
from worker.engine.embeddings import Embeddings, load_embeddings
from worker.engine.graphs import Graphs
from worker.engine.pipelines import load_pipeline
from worker.engine.prompts import PromptMemory
from worker.engine.sampler import Samplers
from worker.engine.sources import Digests, source_of
from worker.engine.speed import apply_speed, check_speed, least_rows, notes_of_speed

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from latentfarm.registry import ModelEntry
    from worker.engine.sources import Source


@dataclass(slots=True)
class LoadedModel:
    """What the engine needs of a model; shared by all of its samples and never altered by one.

    Attributes:
        pipelines: per stage, a diffusers pipeline whose *methods* are used, never its call.
        hashes: per stage, of the weights; of the base also where only the refiner is loaded, if its files
            are here.
        bucket: rows of one UNet forward; 1: one sample at a time with just its own rows.
        encoding: held while prompts are encoded: the fast tokenizers are not safe in two threads.
        adapters: the LoRAs.
        embeddings: the textual inversions.
        prompts: what was encoded last.
        samplers: makes those of all stages.
        graphs: recorded forwards of the UNets.
        speed_notes: what provenance says of options that change bits.
        least_rows: of a forward on a GPU; 2 with a compiler, which takes one row for a case of its own and would
            compile everything once more for it.
        shows_previews: whether small pictures may go through the VAE at any time: not where other shapes would be
            compiled for it, nor where it is moved to the device for each.
        decodes_alone: one image goes through the VAE at a time: the shape that was compiled, or stock's own.
    """

    name: str
    bucket: int
    device: torch.device
    dtype: torch.dtype
    pipelines: dict[Stage, Any]
    hashes: dict[Stage, str]
    encoding: threading.Lock = field(default_factory=threading.Lock)
    adapters: Adapters = field(default_factory=Adapters)
    embeddings: Embeddings = field(default_factory=Embeddings)
    prompts: PromptMemory = field(default_factory=PromptMemory)
    samplers: Samplers = field(default_factory=Samplers)
    graphs: Graphs = field(default_factory=Graphs)
    speed_notes: dict[str, str] = field(default_factory=dict)
    least_rows: int = 1
    decodes_alone: bool = True
    shows_previews: bool = True

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
        stages: `Stage.BASE`, `Stage.REFINE` or both; only their UNets are loaded. What both have in
            common, file for file, is held once.
        device: as torch names it: `cpu`, `cuda`, `cuda:1`, `mps`.
        dtype: `float32`, `float16` or `bfloat16` in place of the entry's `dtype`; `dtypes` stay.

    Raises:
        ModelError: a file is missing, cut short, or of another shape than its config says.
    """
    os.environ.setdefault("HF_HUB_OFFLINE", "1")
    check_speed(entry, torch.device(device))
    held = dtype or entry.dtype
    served = [stage for stage in stages if stage is Stage.BASE or entry.refiner is not None]
    sources = {stage: source_of(entry, stage, held) for stage in served}
    digests = Digests()
    model = LoadedModel(
        name=entry.name,
        bucket=entry.bucket,
        device=torch.device(device),
        dtype=getattr(torch, entry.dtypes.get("unet", held)),
        pipelines={},
        hashes=_hashes(entry, sources, digests, held),
        speed_notes=notes_of_speed(entry.speed),
        least_rows=least_rows(entry.speed),
        decodes_alone=entry.bucket == 1 or entry.speed.compile != "none",
        shows_previews=entry.speed.compile == "none" and entry.speed.offload == "none",
    )
    # What is offloaded never needs room for all of it on the device.
    place = model.device if entry.speed.offload == "none" else torch.device("cpu")
    memory: dict[tuple[object, ...], Any] = {}
    for stage, source in sources.items():
        marks = {one.name: digests.signature(one) for one in source.components}
        shared = {name: memory[mark] for name, mark in marks.items() if mark in memory}
        pipeline = load_pipeline(stage, source, model.dtype, place, shared)
        memory |= {mark: getattr(pipeline, name) for name, mark in marks.items()}
        model.pipelines[stage] = pipeline
    model.adapters = load_adapters(entry.loras, model.pipelines)
    model.embeddings = load_embeddings(entry, model.pipelines)
    apply_speed(entry.speed, model.pipelines.values(), model.device)
    return model


def _hashes(
    entry: ModelEntry, sources: Mapping[Stage, Source], digests: Digests, dtype: str
) -> dict[Stage, str]:
    hashes = {stage: digests.whole(source.files) for stage, source in sources.items()}
    if Stage.BASE not in hashes:
        # Latents say which base they come from; without its files only the names are compared.
        with contextlib.suppress(ModelError):
            hashes[Stage.BASE] = digests.whole(source_of(entry, Stage.BASE, dtype).files)
    return hashes
