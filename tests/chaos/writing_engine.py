"""The engine of a chaos run in a child that writes down what it asks of SQL, and what it is answered.

One JSON line each, in a file of the process: `made` (the engine has a result), `asked` (a write is on its way)
and `answered`, with whether it was accepted.
"""

from __future__ import annotations

import json
import os
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tests.chaos import engine
from tests.chaos.truth import read_lines
from worker.committer import Committer

if TYPE_CHECKING:
    from collections.abc import Sequence
    from concurrent.futures import Future

    from latentfarm.messages import Pair
    from latentfarm.registry import ModelEntry
    from latentfarm.states import Stage
    from worker.assembly import Assembled
    from worker.engine.order import Handover, Listener, Order, Picture


class Ledger:
    """The file of this process."""

    def __init__(self, folder: Path) -> None:
        path = folder / f"{os.getpid()}.writes"
        self._file = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
        self._worker = int(sys.argv[sys.argv.index("--worker") + 1])

    def note(self, what: str, pair: Pair, **told: object) -> None:
        """One write of a whole line: a process that is killed leaves no half of one."""
        line = {"t": time.time(), "what": what, "worker": self._worker, "render": pair[0], "fence": pair[1]}
        os.write(self._file, (json.dumps({**line, **told}) + "\n").encode())


class Witness:
    """Stands before the real listener."""

    def __init__(self, listener: Listener, ledger: Ledger) -> None:
        self._listener = listener
        self._ledger = ledger

    def finished(self, order: Order, result: Handover | Picture) -> None:
        self._ledger.note("made", (order.render_id, order.fence))
        self._listener.finished(order, result)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._listener, name)


def load(
    entries: Sequence[ModelEntry], stages: Sequence[Stage], *, listener: Listener, **options: Any
) -> Assembled:
    """What the setting `engine` names."""
    ledger = Ledger(Path(os.environ[engine.FOLDER]))
    _watch(ledger)
    witness: Any = Witness(listener, ledger)
    return engine.load(entries, stages, listener=witness, **options)


def _watch(ledger: Ledger) -> None:
    original = Committer._put

    def put(self: Committer, kind: str, pairs: set[Pair], records: list[Any]) -> Future[Any]:
        if kind in ("claim", "look"):  # Of hints; what they find is no write of an owner.
            return original(self, kind, pairs, records)
        asked_at = time.time()
        for pair in pairs:
            ledger.note("asked", pair, kind=kind)
        answer = original(self, kind, pairs, records)
        answer.add_done_callback(lambda done: tell(kind, pairs, asked_at, done))
        return answer

    def tell(kind: str, pairs: set[Pair], asked_at: float, done: Future[Any]) -> None:
        if not done.cancelled() and done.exception() is None:
            for pair in pairs:
                accepted = pair in done.result()
                ledger.note("answered", pair, kind=kind, asked_at=asked_at, accepted=accepted)

    Committer._put = put  # type: ignore[method-assign]


def read_writes(folder: Path) -> list[dict[str, Any]]:
    """Every line of every process."""
    return [line for path in sorted(folder.glob("*.writes")) for line in read_lines(path)]
