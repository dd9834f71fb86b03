"""Hears of the driver's errors (Xid) of one device, through NVML. Without `nvidia-ml-py` it hears nothing."""

from __future__ import annotations

import os
import queue
import threading
from importlib import import_module
from typing import Any

from latentfarm.logs import get_logger
from worker.xid import Verdict, meaning, verdict

WAIT_MS = 1000


class XidWatch(threading.Thread):
    """Collects Xids; the parent takes them when it has time.

    Args:
        device: as torch writes it. NVML counts devices in the order of the bus, CUDA only with
            `CUDA_DEVICE_ORDER=PCI_BUS_ID`; names in `CUDA_VISIBLE_DEVICES` are understood.
    """

    def __init__(self, device: str) -> None:
        super().__init__(name="xid", daemon=True)
        self._device = device
        self._heard: queue.SimpleQueue[int] = queue.SimpleQueue()

    def hear(self, xid: int) -> None:
        """One more."""
        self._heard.put(xid)

    def worst(self) -> tuple[Verdict, int] | None:
        """The worst that was heard since the last call; None when there is nothing to be done."""
        found: dict[Verdict, int] = {}
        while not self._heard.empty():
            xid = self._heard.get()
            found[verdict(xid)] = xid
            get_logger().warning(
                "xid", device=self._device, xid=xid, meaning=meaning(xid), verdict=verdict(xid).value
            )
        for bad in (Verdict.DRAIN, Verdict.RESTART):
            if bad in found:
                return bad, found[bad]
        return None

    def run(self) -> None:
        """For as long as the process lives."""
        if not self._device.startswith("cuda"):
            return
        try:
            nvml = import_module("pynvml")
        except ModuleNotFoundError:
            get_logger().info("xid_unwatched", device=self._device, why="no nvidia-ml-py")
            return
        try:
            self._listen(nvml)
        except nvml.NVMLError as error:
            get_logger().warning("xid_unwatched", device=self._device, why=str(error))

    def _listen(self, nvml: Any) -> None:
        nvml.nvmlInit()
        events = nvml.nvmlEventSetCreate()
        nvml.nvmlDeviceRegisterEvents(self._handle(nvml), nvml.nvmlEventTypeXidCriticalError, events)
        while True:
            try:
                heard = nvml.nvmlEventSetWait_v2(events, WAIT_MS)
            except nvml.NVMLError_Timeout:
                continue
            self.hear(int(heard.eventData))

    def _handle(self, nvml: Any) -> Any:
        name = nvml_name(self._device, os.environ.get("CUDA_VISIBLE_DEVICES"))
        if isinstance(name, int):
            return nvml.nvmlDeviceGetHandleByIndex(name)
        return nvml.nvmlDeviceGetHandleByUUID(name)


def nvml_name(device: str, visible: str | None) -> int | str:
    """Index or UUID of a device, such as `cuda:1`, among all of the machine.

    Args:
        visible: `CUDA_VISIBLE_DEVICES`, if it is set: then `cuda:1` is the second that it names.
    """
    index = int(device.partition(":")[2] or 0)
    names = [name.strip() for name in (visible or "").split(",") if name.strip()]
    if index >= len(names):
        return index
    return int(names[index]) if names[index].isdecimal() else names[index]
