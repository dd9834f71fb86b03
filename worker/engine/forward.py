"""One UNet forward over a group of samples."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch

if TYPE_CHECKING:
    from worker.engine.group import Group
    from worker.engine.sample import Sample


def shape_of(group: Group, device: torch.device) -> int:
    """Rows of the forward, padding included.

    A reproducible sample runs in forwards of its model's one shape only: then its rows do not
    depend on who else is there. Otherwise a CPU computes no padding, and a GPU keeps to powers
    of two, so that few shapes are ever met.
    """
    if group.limit == 1:
        return group.rows
    if group.reproducible:
        return max(group.limit, group.rows)
    if device.type == "cpu":
        return group.rows
    return max(group.rows, min(group.limit, 1 << (group.rows - 1).bit_length()))


def forward(group: Group, rows: int) -> list[torch.Tensor]:
    """Predicts the noise of each sample at its own timestep.

    Args:
        group: samples of one key.
        rows: of the forward; what the samples leave free is filled with copies of the first row,
            which is finite and takes the same path, and is thrown away.

    Returns:
        Per sample `[rows of the sample, 4, height / 8, width / 8]`.
    """
    samples = group.samples
    model = samples[0].model
    unet = model.pipelines[samples[0].key.stage].unet
    model.adapters.switch(unet, samples[0].key.adapters)
    times = torch.tensor([_time(sample) for sample in samples for _ in range(sample.rows)])
    embeds = [s.guidance_embed.expand(s.rows, -1) for s in samples if s.guidance_embed is not None]
    inputs = torch.cat([_inputs(sample) for sample in samples])
    if group.limit > 1:
        # Of tensors in several memory layouts `cat` makes one by who is there, and kernels follow it.
        inputs = inputs.contiguous()
    noise = unet(
        _fill(inputs, rows),
        _fill(times.to(model.device), rows),
        encoder_hidden_states=_fill(torch.cat([sample.prompt_embeds for sample in samples]), rows),
        timestep_cond=_fill(torch.cat(embeds), rows) if embeds else None,
        added_cond_kwargs={
            "text_embeds": _fill(torch.cat([sample.pooled_embeds for sample in samples]), rows),
            "time_ids": _fill(torch.cat([sample.time_ids for sample in samples]), rows),
        },
        return_dict=False,
    )[0]
    return list(noise[: group.rows].split([sample.rows for sample in samples]))


def _time(sample: Sample) -> float:
    # float32 exactly: the UNet casts every timestep to it before anything else.
    return float(sample.timesteps[sample.index])


def _inputs(sample: Sample) -> torch.Tensor:
    scaled = sample.sampler.scale_model_input(sample.latents, sample.timesteps[sample.index])
    if sample.painting is not None:
        scaled = sample.painting.widen(scaled)
    return torch.cat([scaled] * sample.rows)


def _fill(tensor: torch.Tensor, rows: int) -> torch.Tensor:
    missing = rows - tensor.shape[0]
    if missing <= 0:
        return tensor
    return torch.cat([tensor, tensor[:1].expand(missing, *tensor.shape[1:])])
