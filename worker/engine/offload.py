"""Networks that wait in the machine's memory while others run on a small device."""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING, Any, Self

if TYPE_CHECKING:
    import torch

_ENTRANCES = ("forward", "encode", "decode")
"""Methods that a network is run by; a VAE has three."""


class Turns:
    """At most one network of a model is on the device; the threads of the engine wait for each other.

    The libraries' own chain of hooks moves a network out when the next one starts, also while another
    thread is still inside of it.
    """

    def __init__(self, device: torch.device) -> None:
        self._device = device
        self._now: Any = None
        self._turn = threading.RLock()  # a VAE's forward runs its own decode

    def take(self, network: Any) -> None:
        """From now on the network comes to the device when it is run, and leaves for the next one."""
        network.to("cpu")
        for name in _ENTRANCES:
            if hasattr(network, name):
                setattr(network, name, _Entrance(self, network, name))

    def run(self, network: Any, name: str, args: tuple[Any, ...], named: dict[str, Any]) -> Any:
        """Runs a method of a network once it is its turn.

        What it is given comes to the device with it: the pipelines put tokens where they find the
        network, which is elsewhere while it waits.
        """
        from accelerate.utils import send_to_device

        with self._turn:
            if self._now is not network:
                if self._now is not None:
                    self._now.to("cpu")
                self._now = None
                network.to(self._device)
                self._now = network
            args, named = send_to_device((args, named), self._device)
            return getattr(type(network), name)(network, *args, **named)


class _Entrance:
    """Stands on a network in place of one of its methods."""

    def __init__(self, turns: Turns, network: Any, name: str) -> None:
        self._turns = turns
        self._network = network
        self._name = name

    def __call__(self, *args: Any, **named: Any) -> Any:
        return self._turns.run(self._network, self._name, args, named)

    def __deepcopy__(self, memo: dict[int, Any]) -> Self:
        """A copy of a network takes turns with the original, and runs itself."""
        copied = type(self)(self._turns, memo.get(id(self._network), self._network), self._name)
        memo[id(self)] = copied
        return copied


def stream(network: Any, device: torch.device) -> None:
    """Brings each layer to the device for just as long as it runs."""
    from accelerate import cpu_offload

    network.to("cpu")
    cpu_offload(network, device, offload_buffers=True)
