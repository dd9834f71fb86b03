"""Keeps the render thread from running ahead of a GPU."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch

if TYPE_CHECKING:
    from collections.abc import Iterable


class Pace:
    """Lets the host be one step ahead of the device, no more.

    Without it the host would queue many steps within milliseconds: new samples, drops and progress
    would all be late by that much. With it a step is queued while the one before it runs.
    """

    def __init__(self, devices: Iterable[torch.device]) -> None:
        self._devices = {device for device in devices if device.type == "cuda"}
        self._before: list[torch.cuda.Event] = []

    def keep(self) -> None:
        """Call after a step is queued: waits until the step before it is done."""
        events = []
        for device in self._devices:
            event = torch.cuda.Event()  # type: ignore[no-untyped-call]
            event.record(torch.cuda.current_stream(device))
            events.append(event)
        for event in self._before:
            event.synchronize()
        self._before = events
