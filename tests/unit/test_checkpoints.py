"""The state of a half-done render survives the way through storage to the bit, or is refused."""

from __future__ import annotations

import json
import math
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from safetensors.torch import save

from latentfarm.errors import CheckpointError
from worker.checkpoints import pack, unpack
from worker.engine.order import Checkpoint

HEADER = {"version": "1", "stage": "base"}
LATENTS = torch.randn(1, 4, 8, 9, generator=torch.Generator().manual_seed(1))


def through(value: Any) -> Any:
    return unpack(pack(Checkpoint(3, {"value": value}, HEADER))).state["value"]


def test_step_and_header_come_back() -> None:
    found = unpack(pack(Checkpoint(7, {}, HEADER)))
    assert (found.step, found.header, found.state) == (7, HEADER, {})


@pytest.mark.parametrize(
    "tensor",
    [
        LATENTS,
        LATENTS.half(),
        LATENTS.bfloat16(),
        LATENTS.double(),
        LATENTS.contiguous(memory_format=torch.channels_last),
        LATENTS[:, :, ::1].transpose(2, 3),
        torch.tensor(0.1),
        torch.tensor(999),
        torch.arange(5),
        torch.zeros(0),
        torch.tensor([math.inf, -math.inf, math.nan]),
        torch.Generator().manual_seed(3).get_state(),
    ],
)
def test_tensors_come_back_with_type_and_layout(tensor: torch.Tensor) -> None:
    found = through({"cpu": tensor})["cpu"]
    assert torch.equal(found.nan_to_num(7), tensor.nan_to_num(7))
    assert (found.dtype, found.shape, found.stride()) == (tensor.dtype, tensor.shape, tensor.stride())


plain = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(),
    lambda inner: st.lists(inner) | st.lists(inner).map(tuple) | st.dictionaries(st.text(), inner),
    max_leaves=12,
)


@given(plain)
@settings(max_examples=60, deadline=None)
def test_plain_data_comes_back_as_it_was(value: Any) -> None:
    found = through(value)
    assert found == value
    assert repr(found) == repr(value), "a tuple is no list, 1 is not 1.0 or True"


@pytest.mark.parametrize("array", [np.arange(6)[::-2], np.zeros((2, 3), dtype=np.float32), np.array([])])
def test_arrays_come_back(array: np.ndarray) -> None:
    found = through(array)
    assert isinstance(found, np.ndarray)
    assert found.dtype == array.dtype
    assert np.array_equal(found, array)


def test_numbers_of_numpy_stay_of_numpy() -> None:
    found = through([np.float32(0.1), np.int64(2**62)])
    assert found == [np.float32(0.1), np.int64(2**62)]
    assert [type(item) for item in found] == [np.float32, np.int64]


def test_the_same_state_gives_the_same_bytes() -> None:
    """A worker that is stopped just after it has saved puts the same step again, under the same key."""
    state = {name: {"cpu": LATENTS} for name in "zyxwvutsrqponmlkjihgfedcba"}
    assert len({pack(Checkpoint(3, state, HEADER)) for _ in range(5)}) == 1


def test_what_is_not_plain_cannot_be_packed() -> None:
    with pytest.raises(TypeError):
        pack(Checkpoint(1, {"value": object()}, HEADER))


@given(cut=st.integers(0, 100_000))
@settings(max_examples=60, deadline=None)
def test_cut_bytes_are_refused(cut: int) -> None:
    whole = pack(Checkpoint(3, {"latents": {"cpu": LATENTS}}, HEADER))
    with pytest.raises(CheckpointError):
        unpack(whole[: cut % len(whole)])


def told(**changes: Any) -> bytes:
    """A file whose description is changed."""
    about = {"step": 3, "header": HEADER, "state": {"a": ["tensor", "t0", None]}, **changes}
    return save({"t0": LATENTS}, metadata={"checkpoint": json.dumps(about)})


def test_the_description_is_what_pack_writes() -> None:
    assert torch.equal(unpack(told()).state["a"], LATENTS)


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"\xff" * 64,
        b"no checkpoint at all",
        save({"latents": LATENTS}),
        save({"latents": LATENTS}, metadata={"checkpoint": "no JSON"}),
        save({"latents": LATENTS}, metadata={"checkpoint": "[]"}),
        told(step="3"),
        told(header={"version": 1}),
        told(header=[]),
        told(state=[]),
        told(state={"a": ["tensor", "t1", None]}),
        told(state={"a": ["pickle", "x"]}),
        told(state={"a": ["tensor"]}),
        told(state={"a": ["tensor", "t0", [0, 0, 0, 1]]}),
        told(state={"a": ["tensor", "t0", [288, 10**12, 9, 1]]}),
        told(state={"a": ["tensor", "t0", [-288, 72, 9, 1]]}),
        told(state={"a": ["array", "x"]}),
    ],
)
def test_anything_else_is_refused(data: bytes) -> None:
    with pytest.raises(CheckpointError):
        unpack(data)
