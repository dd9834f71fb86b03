"""Compiles the blocks that a network is made of: less than the whole of it, and for every shape at once.

Diffusers' `compile_repeated_blocks` leaves out the residual blocks and the ends of the transformers, where an eager
GPU normalises, copies from one memory layout into another, and back. Blocks alike share what is compiled;
rows, height and width are left open, so a start compiles some thirty pieces and no size of an image needs another.
"""

from __future__ import annotations

from types import MethodType
from typing import Any

import torch
import torch.fx.experimental._config as symbols

BLOCKS = ("BasicTransformerBlock", "ResnetBlock2D")
"""Classes of diffusers' that are compiled; what lies between them runs as it is."""
_FORMS = 1024
"""Forms of one function that are kept compiled. Torch's 8 are too few: the ninth form would fail its render."""


def compile_unet(unet: Any) -> None:
    """Has each block compiled at its first call."""
    _leave_shapes_open()
    for module in unet.modules():
        kind = type(module).__name__
        if kind in BLOCKS:
            module.compile(fullgraph=True, dynamic=True)
        elif kind == "Transformer2DModel" and getattr(module, "use_linear_projection", False):
            # `in` and `out` of a transformer, by diffusers' names for them.
            module._operate_on_continuous_inputs = _compiled(_to_tokens, module)  # noqa: SLF001
            module._get_output_for_continuous_inputs = _compiled(_from_tokens, module)  # noqa: SLF001


def compile_decoder(vae: Any) -> None:
    """Has the whole decoder compiled at its first call: it is small, and always gets one image."""
    _leave_shapes_open()
    vae.decoder.compile(fullgraph=True, dynamic=True)


def allow_many_forms() -> None:
    """All of a network's blocks share one function, and each of their widths is a form of it."""
    dynamo = torch._dynamo.config  # noqa: SLF001  the only place where torch has these
    dynamo.recompile_limit = dynamo.accumulated_recompile_limit = _FORMS


def _leave_shapes_open() -> None:
    allow_many_forms()
    # Two sizes that are equal the first time (a square) would be taken for one for ever.
    symbols.use_duck_shape = False


def _compiled(work: Any, module: Any) -> Any:
    return torch.compile(MethodType(work, module), fullgraph=True, dynamic=True)


def _to_tokens(module: Any, hidden_states: torch.Tensor) -> tuple[torch.Tensor, int]:
    """`[rows, channels, height, width]` -> `[rows, height * width, channels]`, as diffusers has it."""
    rows, channels, height, width = hidden_states.shape
    tokens = module.norm(hidden_states).permute(0, 2, 3, 1).reshape(rows, height * width, channels)
    return module.proj_in(tokens), channels


def _from_tokens(
    module: Any,
    hidden_states: torch.Tensor,
    residual: torch.Tensor,
    batch_size: int,
    height: int,
    width: int,
    inner_dim: int,
) -> torch.Tensor:
    """And back. Diffusers copies into another layout here, which the next convolution would undo."""
    image: torch.Tensor = module.proj_out(hidden_states).reshape(batch_size, height, width, inner_dim)
    return image.permute(0, 3, 1, 2) + residual
