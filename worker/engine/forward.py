"""One UNet forward over a group of samples."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch

if TYPE_CHECKING:
    from worker.engine.group import Group
    from worker.engine.sample import Sample
    from worker.engine.seating import Rows


def shape_of(group: Group, device: torch.device, least: int = 1) -> int:
    """Rows of the forward, padding included.

    A reproducible sample runs in forwards of its model's one shape only: then its rows do not
    depend on who else is there. Otherwise a CPU computes no padding, and a GPU keeps to powers
    of two, so that few shapes are ever met.

    Args:
        least: rows on a GPU; see `LoadedModel.least_rows`.
    """
    if group.limit == 1:
        return group.rows
    if group.reproducible:
        return max(group.limit, group.rows)
    if device.type == "cpu":
        return group.rows
    return max(group.rows, min(group.limit, max(least, 1 << (group.rows - 1).bit_length())))


def forward(group: Group, rows: int) -> list[torch.Tensor]:
    """Predicts the noise of each sample at its own timestep.

    Args:
        group: samples of one key.
        rows: of the forward; what the samples leave free is filled with copies of the first sample's
            first row, which is finite and takes the same path, and is thrown away.

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
    seats = _seats(group, rows)
    arguments = {
        "sample": inputs,
        "timestep": times.to(model.device),
        "encoder_hidden_states": torch.cat([sample.prompt_embeds for sample in samples]),
        "text_embeds": torch.cat([sample.pooled_embeds for sample in samples]),
        "time_ids": torch.cat([sample.time_ids for sample in samples]),
    }
    if embeds:
        arguments["timestep_cond"] = torch.cat(embeds)
    seated = {name: _seat(tensor, seats) for name, tensor in arguments.items()}
    noise = model.graphs.run(unet, seated)
    return [_rows(noise, place) for place in group.places]


def _time(sample: Sample) -> float:
    # float32 exactly: the UNet casts every timestep to it before anything else.
    return float(sample.timesteps[sample.index])


def _inputs(sample: Sample) -> torch.Tensor:
    scaled = sample.sampler.scale_model_input(sample.latents, sample.timesteps[sample.index])
    if sample.painting is not None:
        scaled = sample.painting.widen(scaled)
    return torch.cat([scaled] * sample.rows)


def _seats(group: Group, rows: int) -> torch.Tensor | None:
    """For each row of the forward, which of the samples' rows stands there; None: just as they come."""
    taken = [row for place in group.places for row in place]
    if taken == list(range(rows)):
        return None
    seats = [0] * rows
    for source, row in enumerate(taken):
        seats[row] = source
    return torch.tensor(seats, device=group.samples[0].model.device)


def _seat(tensor: torch.Tensor, seats: torch.Tensor | None) -> torch.Tensor:
    return tensor if seats is None else tensor[seats]


def _rows(noise: torch.Tensor, place: Rows) -> torch.Tensor:
    """Without an index tensor: the host would wait for the forward to copy it."""
    if place[-1] - place[0] == len(place) - 1:
        return noise[place[0] : place[-1] + 1]
    return torch.cat([noise[row : row + 1] for row in place])
