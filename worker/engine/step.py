"""What a sample does with its share of a forward: guidance, and its own sampler's step."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import torch

    from worker.engine.sample import Sample


def advance(sample: Sample, noise: torch.Tensor) -> None:
    """Takes one step of the sample's sampler.

    Args:
        noise: `[rows, 4, height / 8, width / 8]` as the UNet predicted it, the negative row first.
    """
    latents = sample.sampler.step(
        guide(sample, noise),
        sample.timesteps[sample.index],
        sample.latents,
        **sample.step_options,
        return_dict=False,
    )[0]
    if latents.dtype != sample.latents.dtype and sample.model.device.type == "mps":
        latents = latents.to(sample.latents.dtype)  # as stock, which does so on this device alone
    if sample.painting is not None:
        after = sample.timesteps[sample.index + 1] if sample.index + 1 < sample.total else None
        latents = sample.painting.blend(sample.sampler, after, latents)
    sample.latents = latents
    sample.index += 1


def guide(sample: Sample, noise: torch.Tensor) -> torch.Tensor:
    """What the sampler is given of `[rows, ...]`. Stock's arithmetic with Python floats: a scale held in a tensor would round or promote differently."""
    if sample.rows == 1:
        return noise
    from diffusers.pipelines.stable_diffusion_xl.pipeline_stable_diffusion_xl import rescale_noise_cfg

    negative, positive = noise.chunk(2)
    guided = negative + sample.guidance_scale * (positive - negative)
    if sample.guidance_rescale > 0.0:
        guided = rescale_noise_cfg(guided, positive, guidance_rescale=sample.guidance_rescale)
    return guided
