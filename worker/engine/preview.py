"""What an image looks like in the middle of its steps: a small picture, made off the render thread."""

from __future__ import annotations

import logging
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol, runtime_checkable

import torch

from worker.engine.decode import through
from worker.engine.faults import is_device
from worker.engine.step import guide

if TYPE_CHECKING:
    from collections.abc import Callable

    from worker.engine.order import Order
    from worker.engine.sample import Sample

_log = logging.getLogger(__name__)

PLACES = 32
"""Latents of the longer side, at most; 256 pixels."""


@runtime_checkable
class Viewer(Protocol):
    """Who may want to see images before they are done. Calls come from the engine's threads and must return at once."""

    def wants(self, order: Order, done: int, total: int) -> bool:
        """Whether to show the image when `done` of `total` steps of this stage are done. From the render thread."""

    def show(self, order: Order, done: int, total: int, pixels: torch.Tensor) -> None:
        """What it looks like then: `[height, width, 3]`, uint8, on the CPU."""


@dataclass(frozen=True, slots=True, eq=False)
class Glimpse:
    """All that a preview is made of: nothing that a later step alters.

    Attributes:
        sample: for what is the same in every step.
        done: steps that are done with this one.
        latents: before the step.
        noise: what the UNet predicted for it.
    """

    sample: Sample
    done: int
    timestep: float
    latents: torch.Tensor
    noise: torch.Tensor

    def paint(self) -> torch.Tensor | None:
        """`[height, width, 3]`, uint8, on the CPU; None where there is nothing to see."""
        pipe = self.sample.model.pipelines[self.sample.order.stage]
        latents = _small(self._foreseen().float())
        image = through(pipe.vae, latents)
        if not torch.isfinite(image).all():
            return None
        shares = (image[0].float() / 2 + 0.5).clamp(0, 1)
        return (shares.permute(1, 2, 0) * 255).round().to(torch.uint8).contiguous().cpu()

    def _foreseen(self) -> torch.Tensor:
        """The latents without the noise that the UNet sees in them: by then the best guess at what will come of them."""
        predicted, sampler = guide(self.sample, self.noise), self.sample.sampler
        sigma = _sigma(sampler, self.timestep)
        if sigma is None:
            return self.latents
        # Some samplers hold image + sigma noise, others the same scaled to a variance of 1.
        scale = (1 + sigma**2) ** 0.5
        spread = self.latents if _is_spread(sampler) else self.latents * scale
        found: torch.Tensor
        match sampler.config.get("prediction_type", "epsilon"):
            case "v_prediction":
                found = spread / scale**2 - predicted * (sigma / scale)
            case "sample":
                found = predicted
            case _:
                found = spread - sigma * predicted
        if sampler.config.get("clip_sample"):
            most = float(sampler.config.get("clip_sample_range", 1.0))
            return found.clamp(-most, most)
        return found


class Glimpses:
    """Catches samples at steps that somebody wants to see. `catch` is called by the render thread, before each step.

    Args:
        offer: takes what was caught, and may drop it; must not wait.
    """

    def __init__(self, viewer: Viewer | None, offer: Callable[[Glimpse], None]) -> None:
        self._viewer = viewer
        self._offer = offer

    def catch(self, sample: Sample, noise: torch.Tensor) -> None:
        """Costs a call while nobody asks; else copies of latents and noise, on the device."""
        viewer, done = self._viewer, sample.index + 1
        if viewer is None or not sample.model.shows_previews:
            return
        try:
            if viewer.wants(sample.order, done, sample.total):
                timestep = float(sample.timesteps[sample.index])
                self._offer(Glimpse(sample, done, timestep, sample.latents.clone(), noise.clone()))
        except Exception as error:
            # The picture itself is none the worse.
            if is_device(error):
                raise
            _log.warning("no preview at step %d: %r", done, error)

    def show(self, glimpse: Glimpse) -> None:
        """Paints, and shows. A preview that cannot be made is none, unless the device is to blame."""
        sample = glimpse.sample
        try:
            pixels = glimpse.paint()
            if pixels is not None and self._viewer is not None:
                self._viewer.show(sample.order, glimpse.done, sample.total, pixels)
        except Exception as error:
            if is_device(error):
                raise
            _log.warning("no preview at step %d: %r", glimpse.done, error)


def _small(latents: torch.Tensor) -> torch.Tensor:
    """At most `PLACES` on the longer side; each place is the mean of those that it stands for."""
    height, width = latents.shape[-2:]
    longer = max(height, width)
    if longer <= PLACES:
        return latents
    size = tuple(max(1, round(side * PLACES / longer)) for side in (height, width))
    return torch.nn.functional.interpolate(latents, size=size, mode="area")


def _is_spread(sampler: Any) -> bool:
    """Whether it holds latents as image + sigma noise: those that know sigmas, and scale latents by them for the UNet alone."""
    return hasattr(sampler, "sigmas") and not hasattr(sampler, "_sigma_to_alpha_sigma_t")


def _sigma(sampler: Any, timestep: float) -> float | None:
    """Noise over image at a timestep, which may lie between two of the training's; None for samplers of the EDM kind."""
    shares = getattr(sampler, "alphas_cumprod", None)
    if shares is None:
        return None
    low = max(0, min(int(timestep), len(shares) - 1))
    high = min(low + 1, len(shares) - 1)
    kept = torch.lerp(shares[low].double(), shares[high].double(), max(0.0, timestep - low)).clamp(1e-8, 1)
    return float(((1 - kept) / kept) ** 0.5)
