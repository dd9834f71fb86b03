"""The synthetic engine in the children of a chaos run; writes each step down before anything else happens.

One file per process, one write per step, so that a step that was done is known of after kill -9 too: what
work was wasted is the number of steps that were done more than once.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tests import synthetic

if TYPE_CHECKING:
    from collections.abc import Sequence

    from latentfarm.registry import ModelEntry
    from latentfarm.states import Stage
    from worker.assembly import Assembled
    from worker.engine.order import Listener, Order

FOLDER = "CHAOS_STEPS"


class Recorder:
    """Stands before the real listener."""

    def __init__(self, listener: Listener, folder: Path) -> None:
        self._listener = listener
        path = folder / f"{os.getpid()}.steps"
        self._file = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)

    def stepped(self, order: Order, done: int, total: int) -> None:
        line = f"{order.render_id} {order.fence} {int(order.stage)} {done}\n"
        os.write(self._file, line.encode())
        self._listener.stepped(order, done, total)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._listener, name)


def load(
    entries: Sequence[ModelEntry], stages: Sequence[Stage], *, listener: Listener, **options: Any
) -> Assembled:
    """What the setting `engine` names."""
    recorder: Any = Recorder(listener, Path(os.environ[FOLDER]))
    return synthetic.load(entries, stages, listener=recorder, **options)


def read_steps(folder: Path) -> list[tuple[int, int, int, int]]:
    """(render, fence, stage, step) of every step that any process has done."""
    lines = [
        line for path in sorted(folder.glob("*.steps")) for line in path.read_text().split("\n")[:-1] if line
    ]
    return [tuple(int(part) for part in line.split()) for line in lines]  # type: ignore[misc]  # four each
