"""What the engine has finished: encode, upload, commit. All off the render thread."""

from __future__ import annotations

import threading
import time
from collections import defaultdict
from concurrent.futures import CancelledError, ThreadPoolExecutor
from typing import TYPE_CHECKING, Any

from sqlalchemy.exc import SQLAlchemyError

from latentfarm.errors import DefectError, RenderError, TransientError
from latentfarm.logs import get_logger
from latentfarm.previews import Preview
from latentfarm.provenance import describe
from latentfarm.records import Done, Failure
from latentfarm.redraws import Redraw
from worker import images, latents
from worker.engine.order import Handover, Picture
from worker.odometer import Odometer
from worker.patience import Interrupted, patiently
from worker.wording import loggable

if TYPE_CHECKING:
    from collections.abc import Callable
    from concurrent.futures import Future
    from uuid import UUID

    import torch

    from latentfarm.messages import Pair
    from latentfarm.progress import ProgressPublisher
    from latentfarm.records import Claimed, ObjectRef
    from latentfarm.repository.sealing import Packed
    from latentfarm.storage import ObjectStore
    from worker.committer import Committer
    from worker.engine.order import Checkpoint, Errand, Order
    from worker.holdings import Holdings
    from worker.saver import Saver

UPLOADERS = 4
PUT_LIMIT_S = 600.0
"""A finished picture is worth waiting for: so long a store may be away before the render is given up."""


class Outflow:
    """The engine's listener, and its viewer. Calls return at once; the work is done by a few threads.

    Args:
        sick: called when the machine has no more files or no more disk; the child must then drain.

    Attributes:
        odometer: the steps of each claim that is held.
        stage_s: seconds spent per part of the work, for metrics; written under the GIL alone.
    """

    def __init__(
        self,
        holdings: Holdings,
        committer: Committer,
        store: ObjectStore,
        progress: ProgressPublisher,
        saver: Saver,
        sick: Callable[[], object],
    ) -> None:
        self._holdings = holdings
        self._committer = committer
        self._store = store
        self._progress = progress
        self._saver = saver
        self._sick = sick
        self._pool = ThreadPoolExecutor(UPLOADERS, thread_name_prefix="outflow")
        self._closing = threading.Event()
        self._uncommitted = 0
        self._changed = threading.Condition()
        self.stage_s: dict[str, float] = defaultdict(float)
        self.odometer = Odometer()

    def stepped(self, order: Order, done: int, total: int) -> None:
        """See `Listener.stepped`."""
        self.odometer.stepped(order, done)
        claimed = self._holdings.get(order.render_id, order.fence)
        if claimed is not None:
            self._progress.offer(claimed.job_id, claimed.ordinal, claimed.stage, done, total)

    def wants(self, order: Order, done: int, total: int) -> bool:
        """See `Viewer.wants`."""

        def job_id() -> UUID | None:
            claimed = self._holdings.get(order.render_id, order.fence)
            return None if claimed is None else claimed.job_id

        return self._progress.wants(job_id, done, total)

    def show(self, order: Order, done: int, total: int, pixels: torch.Tensor) -> None:
        """See `Viewer.show`."""
        claimed, data = self._holdings.get(order.render_id, order.fence), images.preview(pixels)
        if claimed is not None and data is not None:
            place = claimed.job_id, claimed.ordinal, claimed.stage.label
            self._progress.show(Preview(*place, done, total, data))

    def checkpointed(self, order: Order, checkpoint: Checkpoint) -> None:
        """See `Listener.checkpointed`."""
        self._saver.offer(order, checkpoint, self.odometer.taken(order))

    def finished(self, order: Order, result: Handover | Picture) -> None:
        """See `Listener.finished`."""
        self._pool.submit(self._settle, order, lambda claimed: self._deliver(claimed, order, result))

    def packed(self, errand: Errand, packed: Packed | Redraw, then: Callable[[], object]) -> None:
        """A shard's files are in the bucket, or images of it are wanting. `then` is called once that is committed.

        It is called when it was refused, too.
        """

        def commit(_claimed: Claimed) -> Future[set[Pair]]:
            committer = self._committer
            answer = committer.redraw(packed) if isinstance(packed, Redraw) else committer.seal(packed)
            answer.add_done_callback(lambda _: then())
            return answer

        self._pool.submit(self._settle, errand, commit)

    def failed(self, order: Errand, error: RenderError) -> None:
        """See `Listener.failed`."""
        self._fail(order, error)

    def _settle(self, order: Errand, deliver: Callable[[Claimed], Future[set[Pair]]]) -> None:
        claimed = self._holdings.get(order.render_id, order.fence)
        if claimed is None:
            return
        try:
            answer = deliver(claimed)
        except Exception as error:  # noqa: BLE001 - the render must end, whatever went wrong here
            self._end(order, error)
            return
        started = time.perf_counter()
        with self._changed:
            self._uncommitted += 1
        # No thread waits for a commit: then the next one takes as many results along as there are by then.
        answer.add_done_callback(lambda answer: self._committed(order, answer, started))

    def _deliver(self, claimed: Claimed, order: Order, result: Handover | Picture) -> Future[set[Pair]]:
        """Encodes, puts and hands to the committer; the future is empty when it was cancelled or superseded.

        The object stays planned then, and the collector removes it.
        """
        data, media_type, notes = self._timed("encode", lambda: _file(order, result))
        ref = self._timed("put", lambda: self._put(claimed, data, media_type))
        notes["first_step_at"] = self.odometer.first_step_at(order)
        done = Done(order.render_id, order.fence, ref, self.odometer.taken(order), notes)
        commit = self._committer.finish if isinstance(result, Picture) else self._committer.hand_over
        return commit(done)

    def _committed(self, order: Errand, answer: Future[set[Pair]], started: float) -> None:
        """From the committer's thread."""
        self.stage_s["commit"] += time.perf_counter() - started
        try:
            self._end(order, CancelledError() if answer.cancelled() else answer.exception())
        finally:
            with self._changed:
                self._uncommitted -= 1
                self._changed.notify_all()

    def _end(self, order: Errand, error: BaseException | None) -> None:
        """What becomes of a render whose result was delivered, or was not."""
        if error is None:
            self._leave(order)
        elif isinstance(error, CancelledError | Interrupted):
            # The worker drains, and what is still held goes back to its queue; or somebody else has it.
            get_logger().warning("result_not_delivered", render=order.render_id)
            if self._holdings.get(order.render_id, order.fence) is None:
                self.odometer.forget(order)
        elif isinstance(error, RenderError):
            self._fail(order, error)
        elif isinstance(error, SQLAlchemyError):
            first = (str(error).splitlines() or [type(error).__name__])[0]
            self._fail(order, TransientError(f"could not be committed: {first}"))
        elif isinstance(error, OSError):
            # It stays held: the child drains and gives it back, and the next one has files of its own.
            get_logger().error("machine_trouble", render=order.render_id, error=str(error))
            self._sick()
        else:
            self._fail(order, DefectError(f"could not be stored: {error!r}"))

    def _put(self, claimed: Claimed, data: bytes, media_type: str) -> ObjectRef:
        def put() -> ObjectRef:
            # An upload that comes after the collector has been there would be an orphan that no row tells of.
            if self._holdings.get(claimed.render_id, claimed.fence) is None:
                raise Interrupted("superseded")
            return self._store.put(claimed.key, data, media_type)

        return patiently(put, what=f"put {claimed.key}", limit_s=PUT_LIMIT_S, stopping=self._closing)

    def _timed(self, part: str, work: Callable[[], Any]) -> Any:
        started = time.perf_counter()
        try:
            return work()
        finally:
            self.stage_s[part] += time.perf_counter() - started

    def _fail(self, order: Errand, error: RenderError) -> None:
        get_logger().warning(
            "render_failed",
            render=order.render_id,
            error_class=error.error_class.value,
            error=loggable(error),
        )
        steps = self.odometer.taken(order)
        self._committer.fail(Failure(order.render_id, order.fence, error.error_class, str(error), steps))
        self._leave(order)

    def _leave(self, order: Errand) -> None:
        self.odometer.forget(order)
        self._holdings.remove(order.render_id, order.fence)

    def close(self) -> None:
        """Delivers what is finished, and returns when it is committed; waits for no store that is away."""
        self._closing.set()
        self._pool.shutdown(wait=True)
        with self._changed:
            self._changed.wait_for(lambda: not self._uncommitted)


def _file(order: Order, result: Handover | Picture) -> tuple[bytes, str, dict[str, Any]]:
    """Bytes, media type, and what SQL keeps beside the object."""
    if isinstance(result, Handover):
        return latents.pack(result), "application/octet-stream", {"header": result.header}
    provenance = describe(order.spec, order.seed, result.notes, result.warnings)
    data = images.encode(result, order.spec.output, provenance)
    notes = {"provenance": result.notes, "warnings": list(result.warnings)}
    return data, images.MEDIA_TYPES[order.spec.output.format], notes
