"""What an entry trades between memory, speed and the last bits of a picture."""

from __future__ import annotations

from typing import Literal

from pydantic import BaseModel, ConfigDict, Field

Offload = Literal["none", "model", "sequential"]


class Speed(BaseModel):
    """Options of one model. All but `offload` change how numbers are rounded, so every worker has the same."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    offload: Offload = Field(
        "none",
        description="What waits in the machine's memory: networks that are not running (`model`), or every"
        " layer until it runs (`sequential`). Changes no bit; the setting `offload` of a worker goes before it.",
    )
    vae_tiling: bool = Field(False, description="Decode large images in tiles that overlap; seams may show.")
    vae_slicing: bool = Field(
        False, description="Decode images of a batch one by one; the engine always does, so it saves nothing."
    )
    attention: Literal["sdpa", "flash", "efficient", "cudnn", "math", "xformers"] = Field(
        "sdpa", description="Kernel of the UNet's attention; `sdpa` lets torch choose."
    )
    compile: Literal["none", "regional", "whole"] = Field(
        "none",
        description="torch.compile of the UNet: its blocks for all sizes at once, or all of it for each size; and of the"
        " VAE's decoder.",
    )
    cuda_graphs: bool = Field(
        False,
        description="Record the UNet's forwards at the warm sizes and launch each at once: on CUDA, for images"
        " rendered alone and for small ones. Keeps the memory of the largest forward.",
    )
    warm_sizes: tuple[tuple[int, int], ...] = Field(
        (),
        description="[height, width] of images whose shapes a worker on a GPU runs, compiles and records before"
        " it is ready. The entry's `native_size` when empty.",
    )
    channels_last: bool | None = Field(
        None, description="Memory layout; when absent, on CUDA with `compile`."
    )
    fused_projections: bool = Field(False, description="One matrix for q, k and v in the UNet's attention.")
