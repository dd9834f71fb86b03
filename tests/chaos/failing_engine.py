"""The engine of a chaos run in a child that dies at a named point when a trap lies there.

Production code knows nothing of the points: what the child calls is wrapped here, from outside. A write to SQL
has two of them, written (and not committed) and committed (and nobody has been told).

A child dies only while nothing in it runs alone. A render that runs alone is blamed for the death of its
process, rightly; here it would be the trial that failed it. So each stage of a render is interrupted once at most.
"""

from __future__ import annotations

import os
import random
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

from latentfarm.repository import claiming
from latentfarm.repository.facade import Repository
from latentfarm.storage import S3Store
from tests.chaos import engine
from tests.chaos.traps import FOLDER, Traps
from worker.claimer import Claimer
from worker.committer import Committer

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

    from latentfarm.registry import ModelEntry
    from latentfarm.states import Stage
    from worker.assembly import Assembled
    from worker.engine.order import Listener, Order
    from worker.holdings import Holdings

PUTS = {"v1/images/": "image", "v1/latents/": "latents", "v1/checkpoints/": "checkpoint"}
KINDS = ("plan", "show", "hand_over", "finish")
"""Of the committer's writes, in the order of a render's life."""
POINTS = (
    "step",
    "claim asked",
    *(f"{kind} {how}" for kind in ("claim", *KINDS) for how in ("written", "committed")),
    *(f"{name} {how}" for name in PUTS.values() for how in ("made", "put")),
)


class Points:
    """Where the child is told that it has come to a point."""

    def __init__(self, traps: Traps, holdings: Holdings) -> None:
        self._traps = traps
        self._holdings = holdings

    def reach(self, point: str, claims: Iterable[Any] = ()) -> None:
        """Dies, perhaps. `claims`: what the child has just taken and may not hold yet."""
        with self._holdings.changed:
            held = [*self._holdings._held.values(), *claims]
        if not any(item.alone for item in held):
            worker = int(sys.argv[sys.argv.index("--worker") + 1])
            self._traps.spring(point, worker=worker, held=sorted({item.render_id for item in held}))


class Stepper:
    """Stands before the real listener."""

    def __init__(self, listener: Listener, points: Points) -> None:
        self._listener = listener
        self._points = points

    def stepped(self, order: Order, done: int, total: int) -> None:
        self._listener.stepped(order, done, total)
        # Not always at the first step after the trap was laid, which is often the first of a stage.
        if random.random() < 1 / total:
            self._points.reach("step")

    def __getattr__(self, name: str) -> Any:
        return getattr(self._listener, name)


def load(
    entries: Sequence[ModelEntry], stages: Sequence[Stage], *, listener: Listener, **options: Any
) -> Assembled:
    """What the setting `engine` names."""
    points = Points(Traps(Path(os.environ[FOLDER])), listener._holdings)  # type: ignore[attr-defined]  # an Outflow
    _watch_claims(points)
    _watch_writes(points)
    _watch_puts(points)
    stepper: Any = Stepper(listener, points)
    return engine.load(entries, stages, listener=stepper, **options)


def _wrap(owner: Any, name: str, around: Callable[..., Any]) -> None:
    original = getattr(owner, name)
    setattr(owner, name, lambda *given, **named: around(original, *given, **named))


def _watch_claims(points: Points) -> None:
    def claim(original: Any, *given: Any, **named: Any) -> Any:
        points.reach("claim asked")
        found = original(*given, **named)
        if found:
            points.reach("claim committed", found)
        return found

    def write(original: Any, *given: Any, **named: Any) -> Any:
        found = original(*given, **named)
        if found:
            points.reach("claim written", found)
        return found

    _wrap(Claimer, "claim", claim)
    _wrap(claiming, "claim", write)


def _watch_writes(points: Points) -> None:
    def tell(found: dict[str, Any], how: str) -> None:
        for kind in KINDS:
            if found.get(kind):
                points.reach(f"{kind} {how}")

    def write(original: Any, self: Committer, *given: Any) -> Any:
        found = original(self, *given)
        tell(found, "written")
        return found

    def transact(original: Any, self: Repository, *given: Any, **named: Any) -> Any:
        found = original(self, *given, **named)
        if isinstance(found, dict):
            tell(found, "committed")
        return found

    _wrap(Committer, "_write", write)
    _wrap(Repository, "transact", transact)


def _watch_puts(points: Points) -> None:
    def put(original: Any, self: S3Store, key: str, *given: Any) -> Any:
        name = next(name for prefix, name in PUTS.items() if key.startswith(prefix))
        points.reach(f"{name} made")
        ref = original(self, key, *given)
        points.reach(f"{name} put")
        return ref

    _wrap(S3Store, "put", put)
