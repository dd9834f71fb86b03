"""CUDA graphs of the UNet's forwards: one launch in place of some four thousand.

With few rows, or small images, a GPU waits for the host to launch the next kernel; with many, the host's threads that
decode and encode wait for the one that launches. A graph is recorded for each shape while a worker warms up;
shapes that were not recorded run as they are, by the same kernels. Graphs share their memory: one runs at a time, and
what it gives is copied before the next.
"""

from __future__ import annotations

import logging
from dataclasses import dataclass, field
from typing import Any

import torch

from worker.engine.faults import is_memory

Arguments = dict[str, torch.Tensor]
"""Of a UNet's call, by name; see `_call`."""
_log = logging.getLogger(__name__)
_WARM = 2
"""Calls before the recording: libraries choose and load their kernels in the first."""


@dataclass(slots=True)
class Recorded:
    """A graph, and where it reads from and writes to."""

    graph: torch.cuda.CUDAGraph
    inputs: Arguments
    output: torch.Tensor


@dataclass(slots=True)
class Graphs:
    """The recorded forwards of one model.

    Attributes:
        recording: record each new shape; on while a worker warms up.
        replays: forwards that were launched as graphs.
    """

    recording: bool = False
    replays: int = 0
    _known: dict[tuple[Any, ...], Recorded | None] = field(default_factory=dict)
    _pool: Any = None

    def run(self, unet: Any, arguments: Arguments) -> torch.Tensor:
        """The UNet's prediction, `[rows, 4, height / 8, width / 8]`; the caller's own.

        Args:
            arguments: `sample`, `timestep`, `encoder_hidden_states`, `text_embeds`, `time_ids`, and
                `timestep_cond` where the model has it. All on the UNet's device.
        """
        key = (id(unet), *((name, tensor.shape, tensor.dtype) for name, tensor in arguments.items()))
        if self.recording and key not in self._known:
            self._known[key] = self._record(unet, arguments)
        recorded = self._known.get(key)
        return _call(unet, arguments) if recorded is None else self._replay(recorded, arguments)

    def __len__(self) -> int:
        return sum(recorded is not None for recorded in self._known.values())

    def _replay(self, recorded: Recorded, arguments: Arguments) -> torch.Tensor:
        for name, tensor in arguments.items():
            recorded.inputs[name].copy_(tensor)
        with torch.cuda.device(recorded.output.device):
            recorded.graph.replay()
        self.replays += 1
        # A sampler may keep it over its next steps, and the next replay writes to the same place.
        return recorded.output.clone()

    def _record(self, unet: Any, arguments: Arguments) -> Recorded | None:
        """None where the forward does something that cannot be recorded."""
        # Streams are made on the thread's current device, which is the first whatever device a worker has: on
        # another one, a capture would see no kernel, and each replay would give what the last call left.
        device = arguments["sample"].device
        with torch.cuda.device(device):
            stream = torch.cuda.Stream(device)  # type: ignore[no-untyped-call]
            inputs = {name: tensor.clone() for name, tensor in arguments.items()}
            stream.wait_stream(torch.cuda.current_stream(device))
            with torch.cuda.stream(stream):
                for _ in range(_WARM):
                    _call(unet, inputs)
            torch.cuda.current_stream(device).wait_stream(stream)
            try:
                return self._captured(unet, inputs, stream)
            except Exception as error:
                if is_memory(error):
                    raise
                torch.cuda.synchronize(device)  # raises where more is broken than the capture
                shape = tuple(arguments["sample"].shape)
                _log.warning("%s is not recorded, and runs kernel by kernel: %s", shape, error)
                return None

    def _captured(self, unet: Any, inputs: Arguments, stream: torch.cuda.Stream) -> Recorded:
        if self._pool is None:
            self._pool = torch.cuda.graph_pool_handle()
        graph = torch.cuda.CUDAGraph()
        with torch.cuda.graph(graph, self._pool, stream, capture_error_mode="thread_local"):
            output = _call(unet, inputs)
        return Recorded(graph, inputs, output)


def _call(unet: Any, arguments: Arguments) -> torch.Tensor:
    noise: torch.Tensor = unet(
        arguments["sample"],
        arguments["timestep"],
        encoder_hidden_states=arguments["encoder_hidden_states"],
        timestep_cond=arguments.get("timestep_cond"),
        added_cond_kwargs={name: arguments[name] for name in ("text_embeds", "time_ids")},
        return_dict=False,
    )[0]
    return noise
