"""Claims what the engine has room for, fetches latents and pictures, and gives orders to the engine."""

from __future__ import annotations

import threading
import time
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING

from pydantic import ValidationError
from sqlalchemy.exc import SQLAlchemyError

from latentfarm.errors import (
    CheckpointError,
    DefectError,
    ErrorClass,
    LatentsError,
    ModelError,
    RenderError,
    SpecError,
    TransientError,
)
from latentfarm.logs import get_logger
from latentfarm.modes import first_stage, needs_inputs
from latentfarm.records import Failure
from latentfarm.states import Stage
from worker import checkpoints, latents
from worker.engine.order import Order
from worker.patience import Interrupted, patiently
from worker.pictures import Pictures
from worker.specs import Specs
from worker.wording import loggable

if TYPE_CHECKING:
    from collections.abc import Callable

    from latentfarm.records import Claimed, ObjectRef
    from latentfarm.storage import ObjectStore
    from worker.assembly import Assembled
    from worker.claimer import Claimer
    from worker.committer import Committer
    from worker.engine.order import Checkpoint
    from worker.holdings import Holdings
    from worker.inbox import Inbox

WAIT_S = 0.2
LOOK_S = 1.0
"""So often a worker that empties itself for a suspect makes sure that it is still to be had."""
FETCHERS = 4
GET_LIMIT_S = 600.0
"""So long a store may be away before a stage that needs something of it is given up."""
CHECKPOINT_LIMIT_S = 3.0
"""Waiting longer than this would cost more than most checkpoints spare."""


class Intake(threading.Thread):
    """From hints to orders. Knows nothing of Celery, so that tests can feed the inbox directly.

    Args:
        assembled: the engine. Renders of models that it could not load are claimed all the same, so that they
            end with that reason rather than wait for ever.
        sick: called when the machine has no more files or no more disk; the child must then drain.
    """

    def __init__(
        self,
        inbox: Inbox,
        holdings: Holdings,
        claimer: Claimer,
        committer: Committer,
        store: ObjectStore,
        assembled: Assembled,
        sick: Callable[[], object],
    ) -> None:
        super().__init__(name="intake", daemon=True)
        self._inbox = inbox
        self._holdings = holdings
        self._claimer = claimer
        self._committer = committer
        self._store = store
        self._engine = assembled.engine
        self._unusable = assembled.unusable
        self._framework = assembled.framework
        self._sick = sick
        self._pictures = Pictures(self._fetch)
        self._specs = Specs()
        self._fetchers = ThreadPoolExecutor(FETCHERS, thread_name_prefix="fetch")
        self._stopping = threading.Event()
        self._looked_at = -LOOK_S

    def run(self) -> None:
        """Until stopped: claim when there is room."""
        while not self._stopping.is_set():
            # One condition for hints and for room: neither may come unseen between the look and the wait.
            with self._inbox.changed:
                pairs, alone = self._take()
                if not pairs:
                    self._inbox.changed.wait(WAIT_S)
            if pairs:
                self._claim(pairs)
            elif alone:
                self._look_again()

    def _take(self) -> tuple[list[tuple[int, int]], bool]:
        if self._holdings.has_suspect():
            # Whatever else were held would share the blame for a death, or the suspect would bear it for all.
            return [], True
        return self._inbox.take(len(self._holdings))

    def _look_again(self) -> None:
        """Drops hints of suspects that others have taken: nothing is claimed while one waits, and batches run empty."""
        now = time.monotonic()
        if now - self._looked_at < LOOK_S:
            return
        self._looked_at = now
        waiting = self._inbox.alone()
        if not waiting:
            return
        try:
            found = self._claimer.look(waiting)
        except (Interrupted, SQLAlchemyError):
            return  # The worker drains; or the claim will tell.
        self._inbox.forget(set(waiting) - found)

    def _claim(self, pairs: list[tuple[int, int]]) -> None:
        try:
            claimed = self._claimer.claim(pairs, is_low=self._inbox.is_low())
        except Interrupted:
            return
        except Exception as error:  # noqa: BLE001 - one refused claim must not end the thread
            # What was claimed all the same, if anything, is found by the watch and given back.
            get_logger().error("claim_failed", error=repr(error), renders=len(pairs))
            return
        for item in claimed:
            self._holdings.add(item)
            if item.stage is Stage.REFINE or item.inputs or item.checkpoint:
                self._fetchers.submit(self._start, item)
            else:
                self._start(item)

    def _start(self, claimed: Claimed) -> None:
        try:
            order = self._order(claimed)
        except RenderError as error:
            self._refuse(claimed, error)
        except Interrupted:
            return  # The worker drains, and gives back all that it still holds.
        except OSError as error:
            # It stays held: the child drains and gives it back.
            get_logger().error("machine_trouble", render=claimed.render_id, error=str(error))
            self._sick()
        except Exception as error:  # noqa: BLE001 - a render that cannot be started must not hang for ever
            self._refuse(claimed, DefectError(f"could not be started: {error!r}"))
        else:
            if self._holdings.get(claimed.render_id, claimed.fence):
                self._engine.submit(order)

    def _order(self, claimed: Claimed) -> Order:
        try:
            spec = self._specs.of(claimed)
        except ValidationError as error:
            raise SpecError(f"the stored spec cannot be read: {error.error_count()} errors") from error
        if spec.model in self._unusable:
            raise ModelError(self._unusable[spec.model])
        handover = None
        if claimed.stage is not first_stage(spec):
            if claimed.latents is None:
                raise LatentsError("the base stage left no latents")
            handover = latents.unpack(self._fetch(claimed.latents), self._framework)
        inputs = self._pictures.of(spec, claimed) if needs_inputs(spec, claimed.stage) else None
        return Order(
            render_id=claimed.render_id,
            fence=claimed.fence,
            stage=claimed.stage,
            spec=spec,
            seed=claimed.seed,
            lane=claimed.lane,
            handover=handover,
            inputs=inputs,
            alone=claimed.alone,
            checkpoint=self._checkpoint(claimed),
        )

    def _checkpoint(self, claimed: Claimed) -> Checkpoint | None:
        """Where another incarnation has left off. Without it the steps are taken again: that is no failure."""
        if claimed.checkpoint is None:
            return None
        try:
            return checkpoints.unpack(self._fetch(claimed.checkpoint, CHECKPOINT_LIMIT_S))
        except (LatentsError, TransientError, CheckpointError) as error:
            get_logger().warning("checkpoint_ignored", render=claimed.render_id, error=str(error))
            return None

    def _fetch(self, ref: ObjectRef, limit_s: float = GET_LIMIT_S) -> bytes:
        return patiently(
            lambda: self._store.get(ref), what=f"get {ref.key}", limit_s=limit_s, stopping=self._stopping
        )

    def _refuse(self, claimed: Claimed, error: RenderError) -> None:
        get_logger().warning("order_refused", render=claimed.render_id, error=loggable(error))
        error_class: ErrorClass = error.error_class
        self._committer.fail(Failure(claimed.render_id, claimed.fence, error_class, str(error)))
        self._holdings.remove(claimed.render_id, claimed.fence)

    def stop(self) -> None:
        """No more claims; returns when the last one was handled. What is still fetched is given back unstarted."""
        self._stopping.set()
        self._claimer.stop()
        self._inbox.clear()
        if self.is_alive():
            self.join()
        # Not waited for: a store that hangs must not take the time in which half-done renders are saved.
        self._fetchers.shutdown(wait=False, cancel_futures=True)
