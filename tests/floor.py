"""Ways to move initial latents by 1e-6 of their size: how far stock then differs from itself is the floor."""

from __future__ import annotations

from collections.abc import Callable

import torch

Move = Callable[[torch.Tensor], torch.Tensor]
MOVED = 1e-6
"""About what the rounding of a forward comes to when its number of rows is another."""
DRAWS = 4


def all_one_way() -> list[Move]:
    """All elements larger, all smaller: a sampler that is linear in its latents hardly sees it."""
    return [lambda latents: latents * (1 + MOVED), lambda latents: latents * (1 - MOVED)]


def each_its_own_way(seed: int) -> list[Move]:
    """Each element larger or smaller by a draw of its own.

    Args:
        seed: of the image; the draws follow from it and from nothing that was seen.
    """
    return [_drawn(seed, draw) for draw in range(DRAWS)]


def _drawn(seed: int, draw: int) -> Move:
    def move(latents: torch.Tensor) -> torch.Tensor:
        generator = torch.Generator().manual_seed((seed + 1 + draw) % 2**53)
        signs = 2 * torch.randint(0, 2, latents.shape, generator=generator) - 1
        return latents * (1 + MOVED * signs.to(latents))

    return move
