"""Latents survive the way through storage, or are refused."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from safetensors.torch import save

from latentfarm.errors import LatentsError
from worker.engine.order import Handover
from worker.latents import pack, unpack

HEADER = {"version": "1", "model": "tiny", "shape": "[1, 4, 8, 9]"}


@pytest.mark.parametrize("dtype", [torch.float32, torch.float16, torch.bfloat16])
def test_they_come_back_bit_by_bit(dtype: torch.dtype) -> None:
    latents = torch.randn(1, 4, 8, 9, generator=torch.Generator().manual_seed(1)).to(dtype)
    found = unpack(pack(Handover(latents.to(memory_format=torch.channels_last), HEADER)))
    assert torch.equal(found.latents, latents)
    assert found.latents.dtype == dtype
    assert found.header == HEADER


@given(cut=st.integers(0, 10_000))
@settings(max_examples=60, deadline=None)
def test_cut_bytes_are_refused(cut: int) -> None:
    whole = pack(Handover(torch.zeros(1, 4, 8, 8), HEADER))
    with pytest.raises(LatentsError):
        unpack(whole[: cut % len(whole)])


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"\xff" * 64,
        b"not latents at all",
        save({"latents": torch.zeros(1, 4, 8, 8)}),
        save({"other": torch.zeros(1, 4, 8, 8)}, metadata=HEADER),
        save({"latents": torch.zeros(2, 4, 8, 8)}, metadata=HEADER),
        save({"latents": torch.zeros(4, 8, 8)}, metadata=HEADER),
        save({"latents": torch.zeros(1, 4, 8, 8, dtype=torch.int32)}, metadata=HEADER),
        save({"latents": torch.full((1, 4, 8, 8), float("nan"))}, metadata=HEADER),
        save({"latents": torch.full((1, 4, 8, 8), float("-inf"))}, metadata=HEADER),
    ],
)
def test_anything_else_is_refused(data: bytes) -> None:
    with pytest.raises(LatentsError):
        unpack(data)
