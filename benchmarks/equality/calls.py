"""How often the stock pipelines call each UNet: counted in their own loops, with UNets that only count."""

from __future__ import annotations

import contextlib
import copy
from typing import TYPE_CHECKING, Any

import diffusers
import torch

from latentfarm.samplers import SAMPLERS, schedule_settings
from latentfarm.states import Stage

if TYPE_CHECKING:
    from collections.abc import Iterator

    from worker.engine.model import LoadedModel


class Counting:
    """Stock's pipelines around one pair of UNets that predict nothing."""

    def __init__(self, model: LoadedModel) -> None:
        self._model = model
        self._calls = 0
        self._prompts = {
            stage: model.pipelines[stage].encode_prompt("", do_classifier_free_guidance=False)
            for stage in (Stage.BASE, Stage.REFINE)
        }

    def calls(self, sampler: str, schedule: str, steps: int, split: float | None) -> tuple[int, int]:
        """Evaluations of the base's UNet and of the refiner's.

        Args:
            split: `denoising_end` of the base and `denoising_start` of the refiner; None: the base alone.
        """
        latents, base = self._run(Stage.BASE, sampler, schedule, steps, denoising_end=split)
        if split is None:
            return base, 0
        return base, self._run(Stage.REFINE, sampler, schedule, steps, denoising_start=split, image=latents)[
            1
        ]

    def _run(
        self, stage: Stage, sampler: str, schedule: str, steps: int, **arguments: Any
    ) -> tuple[torch.Tensor, int]:
        pipe = copy.copy(self._model.pipelines[stage])
        row = SAMPLERS[sampler]
        settings = {**row.config, **schedule_settings(row, schedule)}
        if row.seeds_itself:
            settings["noise_sampler_seed"] = 0
        pipe.scheduler = getattr(diffusers, row.cls).from_config(pipe.scheduler.config, **settings)
        embeds, _, pooled, _ = self._prompts[stage]
        if stage is Stage.BASE:
            arguments |= {"height": 64, "width": 64}
        with self._counted(pipe.unet), torch.no_grad():
            latents = pipe(
                prompt_embeds=embeds,
                pooled_prompt_embeds=pooled,
                guidance_scale=1.0,
                num_inference_steps=steps,
                generator=torch.Generator().manual_seed(0),
                output_type="latent",
                **arguments,
            ).images
        return latents, self._calls

    @contextlib.contextmanager
    def _counted(self, unet: Any) -> Iterator[None]:
        def forward(sample: torch.Tensor, *_: object, **__: object) -> tuple[torch.Tensor]:
            self._calls += 1
            return (torch.zeros_like(sample),)

        self._calls, unet.forward = 0, forward
        try:
            yield
        finally:
            del unet.forward
