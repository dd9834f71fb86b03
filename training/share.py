"""Training by several processes: each takes every n-th batch, all step by the mean gradient.

Processes with one thread each bear a busy machine better than one process with many threads,
whose every operation waits for its slowest thread.
"""

import os
import subprocess
import sys
from collections.abc import Sequence
from datetime import timedelta
from pathlib import Path

import torch
from torch import Tensor, distributed

_PATIENCE = timedelta(hours=6)  # a process may be stopped for a while


def run_in_processes(arguments: list[str], processes: int, meeting: Path) -> int:
    """Start `python -m training ARGUMENTS` as often as asked; returns the first exit code that is not 0.

    `meeting` is a file on which they find each other.
    """
    meeting.parent.mkdir(parents=True, exist_ok=True)
    meeting.unlink(missing_ok=True)
    started = []
    for rank in range(processes):
        shared = {
            "TRAINING_RANK": str(rank),
            "TRAINING_PROCESSES": str(processes),
            "TRAINING_MEETING": str(meeting),
        }
        command = [sys.executable, "-m", "training", *arguments]
        started.append(subprocess.Popen(command, env={**os.environ, **shared}))
    codes = [process.wait() for process in started]
    return next((code for code in codes if code), 0)


def join() -> None:
    """Meet the other processes if `run_in_processes` started this one."""
    if "TRAINING_RANK" in os.environ:
        distributed.init_process_group(
            "gloo",
            init_method=f"file://{Path(os.environ['TRAINING_MEETING']).resolve()}",
            rank=int(os.environ["TRAINING_RANK"]),
            world_size=int(os.environ["TRAINING_PROCESSES"]),
            timeout=_PATIENCE,
        )


def rank() -> int:
    """This process's number; 0 writes the files."""
    return distributed.get_rank() if distributed.is_initialized() else 0


def processes() -> int:
    """How many train together."""
    return distributed.get_world_size() if distributed.is_initialized() else 1


def wait_for_all() -> None:
    """Return when every process has come here."""
    if distributed.is_initialized():
        distributed.barrier()


def average_gradients(parameters: Sequence[Tensor]) -> None:
    """Replace each gradient by its mean over all processes; parameters without one count as zero."""
    if processes() == 1:
        return
    gradients = [torch.zeros_like(value) if value.grad is None else value.grad for value in parameters]
    flat = torch.cat([gradient.flatten() for gradient in gradients])
    distributed.all_reduce(flat)
    flat /= processes()
    parts = torch.split(flat, [gradient.numel() for gradient in gradients])
    for value, part in zip(parameters, parts, strict=True):
        value.grad = part.view_as(value)
