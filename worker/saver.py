"""Puts the states of half-done renders into the bucket, beside everything else that the child does.

A checkpoint may fail in any way without harm: the render itself is never touched.
"""

from __future__ import annotations

import dataclasses
import threading
import time
from concurrent.futures import CancelledError, Future, ThreadPoolExecutor, wait
from dataclasses import dataclass
from typing import TYPE_CHECKING

from latentfarm.keys import checkpoint_key
from latentfarm.logs import get_logger
from latentfarm.records import Saved
from worker import checkpoints

if TYPE_CHECKING:
    from collections.abc import Iterable

    from latentfarm.messages import Pair
    from latentfarm.storage import ObjectStore
    from worker.committer import Committer
    from worker.engine.order import Checkpoint, Errand, Order
    from worker.holdings import Holdings

UPLOADERS = 8


@dataclass(frozen=True, slots=True)
class _Wish:
    """A state to be put. With `answer` it is the last one, and its release makes it visible."""

    order: Errand
    checkpoint: Checkpoint
    taken: int
    answer: Future[Saved | None] | None = None


class Saver:
    """One checkpoint of a render is on its way at a time; a newer one takes the place of one that waits."""

    def __init__(self, holdings: Holdings, committer: Committer, store: ObjectStore) -> None:
        self._holdings = holdings
        self._committer = committer
        self._store = store
        self._pool = ThreadPoolExecutor(UPLOADERS, thread_name_prefix="saver")
        self._lock = threading.Lock()
        self._waiting: dict[int, _Wish] = {}
        self._busy: set[int] = set()
        self._draining = False

    def offer(self, order: Order, checkpoint: Checkpoint, taken: int) -> None:
        """Takes a state of a sample that goes on; returns at once.

        Args:
            taken: steps that were taken under the order's fence.
        """
        with self._lock:
            if not self._draining:
                self._add(_Wish(order, checkpoint, taken))

    def drain(self, last: Iterable[tuple[Errand, Checkpoint, int]], until: float) -> dict[Pair, Saved]:
        """Puts the last states of samples that are given back, all at once.

        Args:
            last: as `offer` takes them.
            until: monotonic seconds; what is not in the bucket by then is left out.

        Returns:
            What is in the bucket. It is still to be made visible, with the release.
        """
        wishes = [_Wish(*item, Future()) for item in last]
        with self._lock:
            self._draining = True
            self._waiting.clear()
            for wish in wishes:
                self._add(wish)
        answers = [wish.answer for wish in wishes if wish.answer is not None]
        done, _ = wait(answers, timeout=max(0.0, until - time.monotonic()))
        found = [saved for answer in done if (saved := answer.result()) is not None]
        return {(saved.render_id, saved.fence): saved for saved in found}

    def _add(self, wish: _Wish) -> None:
        render = wish.order.render_id
        self._waiting[render] = wish
        if render not in self._busy:
            self._busy.add(render)
            self._pool.submit(self._work, render)

    def _work(self, render: int) -> None:
        """Everything that comes for one render while this runs, one after the other."""
        while True:
            with self._lock:
                wish = self._waiting.pop(render, None)
                if wish is None:
                    self._busy.discard(render)
                    return
            saved = self._try(wish)
            if wish.answer is not None:
                wish.answer.set_result(saved)

    def _try(self, wish: _Wish) -> Saved | None:
        try:
            return self._save(wish)
        except CancelledError:
            return None  # The committer has ended: so has this incarnation.
        except Exception as error:  # noqa: BLE001 - the render goes on without
            get_logger().warning("checkpoint_not_saved", render=wish.order.render_id, error=str(error))
            return None

    def _save(self, wish: _Wish) -> Saved | None:
        order, step = wish.order, wish.checkpoint.step
        saved = Saved(order.render_id, order.fence, step, wish.taken)
        if self._holdings.get(order.render_id, order.fence) is None:
            return None
        if not self._committer.plan(saved).result():
            return None
        key = checkpoint_key(order.render_id, order.fence, step)
        ref = self._store.put(key, checkpoints.pack(wish.checkpoint), checkpoints.MEDIA_TYPE)
        saved = dataclasses.replace(saved, ref=ref)
        if wish.answer is None:
            self._committer.show(saved).result()
        return saved

    def close(self) -> None:
        """Waits for nothing: what is not in the bucket yet is not needed."""
        self._pool.shutdown(wait=False, cancel_futures=True)
