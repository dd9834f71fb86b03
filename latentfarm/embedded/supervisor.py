"""A supervisor of child processes: starts them in the order of their needs and stops them in reverse.

Each program has a thread (`keeper.Keeper`); this class is the whole that an entry point holds. When
its process dies in whatever way, the kernel ends the programs too.
"""

import threading
import time
from collections.abc import Iterable
from types import TracebackType
from typing import Self

from latentfarm.embedded.errors import StackError, StartError
from latentfarm.embedded.keeper import Keeper
from latentfarm.embedded.program import Program, Status


class Supervisor:
    """Keeps programs running until `stop`. Programs may be added at any time."""

    def __init__(self) -> None:
        self._keepers: dict[str, Keeper] = {}

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()

    def __getitem__(self, name: str) -> Keeper:
        return self._keepers[name]

    def add(self, *programs: Program) -> None:
        """Start programs, each as soon as those in its `after` are ready; returns at once.

        Raises:
            StackError: for a name that is taken, or needs that cannot be met.
        """
        everything = {name: keeper.program for name, keeper in self._keepers.items()}
        for program in programs:
            if program.name in everything:
                raise StackError(f"there is a program {program.name!r} already")
            everything[program.name] = program
        start_order(everything)
        self._keepers.update({program.name: Keeper(program, self._keepers) for program in programs})
        for program in programs:
            self._keepers[program.name].open()

    def wait_ready(self, names: Iterable[str] | None = None, timeout: float = 120.0) -> None:
        """Wait until the programs (all when None) are ready.

        Raises:
            StartError: when one gave up, or after `timeout` seconds.
        """
        deadline = time.monotonic() + timeout
        for name in tuple(self._keepers) if names is None else names:
            keeper = self._keepers[name]
            if not keeper.wait_ready(max(0.0, deadline - time.monotonic())):
                reason = keeper.error or "no answer to the probe"
                raise StartError(f"{keeper.name} did not become ready ({keeper.state}): {reason}")

    def pids(self) -> dict[str, int]:
        """The processes that run, by the name of their program."""
        found = {name: keeper.pid for name, keeper in tuple(self._keepers.items())}
        return {name: pid for name, pid in found.items() if pid is not None}

    def snapshot(self) -> list[Status]:
        """The state of every program, in the order in which they were added."""
        return [keeper.status() for keeper in tuple(self._keepers.values())]

    def stop(self) -> None:
        """Stop all programs, those that need others first; returns when no process is left."""
        layers = start_order({name: keeper.program for name, keeper in self._keepers.items()})
        for layer in reversed(layers):
            closers = [threading.Thread(target=self._keepers[name].close) for name in layer]
            for closer in closers:
                closer.start()
            for closer in closers:
                closer.join()


def start_order(programs: dict[str, Program]) -> list[list[str]]:
    """Layers of names such that each program comes after all that it needs.

    Raises:
        StackError: for a circle of needs, or a need that is not among them.
    """
    for name, program in programs.items():
        missing = set(program.after) - set(programs)
        if missing:
            raise StackError(f"{name} comes after {sorted(missing)}, which is not there")
    layers: list[list[str]] = []
    placed: set[str] = set()
    while len(placed) < len(programs):
        layer = [name for name, p in programs.items() if name not in placed and placed.issuperset(p.after)]
        if not layer:
            raise StackError(f"a circle in `after`: {sorted(set(programs) - placed)}")
        layers.append(layer)
        placed.update(layer)
    return layers
