"""An engine that packs shards, in the place of the one that renders: the child around it is the same."""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING, Protocol

from sqlalchemy.exc import SQLAlchemyError

from latentfarm.errors import DefectError, RenderError, TransientError
from latentfarm.logs import get_logger
from worker.engine.order import Counters, Unfinished
from worker.patience import Interrupted
from worker.sealing.shift import TURN_S, Abandoned, Shift

if TYPE_CHECKING:
    from collections.abc import Callable

    from latentfarm.redraws import Redraw
    from latentfarm.repository.sealing import Packed
    from latentfarm.states import Lane
    from worker.engine.order import Errand
    from worker.sealing.clearing import Clearing

STOP_S = 5.0
"""Between two images it is over at once; a file's end may take a little."""


class Listener(Protocol):
    """Who is told what becomes of a shard. Calls return at once."""

    def packed(self, errand: Errand, packed: Packed | Redraw, then: Callable[[], object]) -> None:
        """What came of it is to be committed; `then` is to be called once it is, or was refused."""

    def failed(self, errand: Errand, error: RenderError, /) -> None:
        """The shard could not be packed."""


class Packer(Protocol):
    """Packs one shard."""

    def __call__(self, errand: Errand, shift: Shift) -> Packed | Redraw | None:
        """None: the claim is not this worker's any more."""


class SealEngine:
    """One thread, one shard at a time. What is abandoned leaves nothing that anybody could see.

    Args:
        clearing: woken after each commit; lives as long as this.
    """

    def __init__(self, pack: Packer, listener: Listener, clearing: Clearing) -> None:
        self.counters = Counters()
        self._pack = pack
        self._listener = listener
        self._clearing = clearing
        self._taken: dict[int, tuple[Errand, Shift]] = {}
        self._changed = threading.Condition()
        self._stopping = False
        self._thread = threading.Thread(target=self._run, name="seal", daemon=True)

    @property
    def broken(self) -> None:
        """See `Engine.broken`: there is no device."""
        return

    def start(self) -> None:
        """See `Engine.start`."""
        self._clearing.start()
        self._thread.start()

    def submit(self, order: Errand) -> None:
        """See `Engine.submit`."""
        with self._changed:
            self._taken[order.render_id] = order, Shift(self._beat)
            self._changed.notify_all()

    def drop(self, render_id: int) -> None:
        """See `Engine.drop`: between two images."""
        with self._changed:
            found = self._taken.pop(render_id, None)
        if found is not None:
            found[1].over.set()

    def in_flight(self, lane: Lane | None = None) -> int:  # noqa: ARG002 - shards have one lane
        """See `Engine.in_flight`."""
        with self._changed:
            return len(self._taken)

    def stop(self) -> list[Unfinished]:
        """See `Engine.stop`: between two images."""
        with self._changed:
            self._stopping = True
            for _, shift in self._taken.values():
                shift.over.set()
            self._changed.notify_all()
        if self._thread.is_alive():
            self._thread.join(STOP_S)
        self._clearing.stop()
        with self._changed:
            left = [Unfinished(errand) for errand, _ in self._taken.values()]
            self._taken.clear()
        return left

    def _beat(self) -> None:
        self.counters.beat += 1

    def _run(self) -> None:
        while True:
            self._beat()
            with self._changed:
                if self._stopping:
                    return
                found = next(iter(self._taken.values()), None)
                if found is None:
                    self._changed.wait(TURN_S)
            if found is not None:
                self._work(*found)

    def _work(self, errand: Errand, shift: Shift) -> None:
        result = self._result(errand, shift)
        with self._changed:
            if shift.over.is_set():
                return  # Dropped, or to be given back by `stop`.
            del self._taken[errand.render_id]
        if isinstance(result, RenderError):
            self._listener.failed(errand, result)
        elif result is not None:
            self._listener.packed(errand, result, self._clearing.wake)
        # Else the watch finds that it was superseded, and lets go of it.

    def _result(self, errand: Errand, shift: Shift) -> Packed | Redraw | RenderError | None:
        try:
            return self._pack(errand, shift)
        except (Abandoned, Interrupted):
            return None
        except RenderError as error:
            return error
        except SQLAlchemyError as error:
            first = (str(error).splitlines() or [type(error).__name__])[0]
            return TransientError(f"the database did not tell what belongs to the shard: {first}")
        except OSError as error:
            return TransientError(f"the shard could not be written on this machine: {error}")
        except Exception as error:  # noqa: BLE001 - the shard must end, whatever went wrong here
            get_logger().exception("seal_failed", render=errand.render_id)
            return DefectError(f"could not be packed: {error!r}")
