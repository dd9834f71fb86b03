"""What an exception in the engine means: the device's memory, the device itself, or one sample's spec."""

from __future__ import annotations

import torch

from latentfarm.errors import DeviceError, DeviceMemoryError, RenderError, SpecError

_DEVICE_MARKS = ("CUDA", "cuDNN", "CUBLAS", "cuBLAS", "NCCL", "HIP", "MPS")


def is_memory(error: BaseException) -> bool:
    """Whether the device, or the host that plays it, had too little memory."""
    if isinstance(error, torch.OutOfMemoryError | MemoryError):
        return True
    text = str(error)
    return isinstance(error, RuntimeError) and (
        "out of memory" in text.lower() or "can't allocate memory" in text
    )


def is_device(error: BaseException) -> bool:
    """Whether the device's context cannot be trusted any more."""
    if is_memory(error):
        return False
    accelerator = getattr(torch, "AcceleratorError", None)
    if accelerator is not None and isinstance(error, accelerator):
        return True
    return isinstance(error, RuntimeError) and any(mark in str(error) for mark in _DEVICE_MARKS)


def of_one_sample(error: Exception) -> RenderError:
    """The error of a sample that failed in work done for it alone, where no forward was involved."""
    if isinstance(error, RenderError):
        return error
    if is_memory(error):
        return DeviceMemoryError(str(error))
    if is_device(error):
        return DeviceError(str(error))
    return SpecError(f"{type(error).__name__}: {error}")
