"""The one thread of a child that writes to SQL what becomes of renders: many ends in one commit.

A commit costs 5 to 15 ms on an ordinary disk. Five per render would cap a farm near 80 renders/s, so
whatever has gathered while one commit was under way goes into the next.
"""

from __future__ import annotations

import queue
import threading
from concurrent.futures import Future
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from latentfarm.database import is_away
from latentfarm.logs import get_logger
from latentfarm.records import Release
from latentfarm.repository import checkpointing, failing, finishing, redrawing, sealing

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from sqlalchemy import Connection

    from latentfarm.messages import Pair
    from latentfarm.records import Done, Failure, Saved
    from latentfarm.redraws import Redraw
    from latentfarm.repository.facade import Repository
    from latentfarm.repository.sealing import Packed

RESULTS = frozenset({"finish", "hand_over", "seal", "redraw"})
AWAY_S = 0.5
BATCH = 512
"""Most operations in one transaction."""


@dataclass(slots=True)
class _Operation:
    """One thing to write: what is done, to which (render id, fence) pairs, with which records."""

    kind: str
    pairs: set[Pair]
    records: list[Any]
    answer: Future[Any] = field(default_factory=Future)


class Committer(threading.Thread):
    """Gathers operations and commits them together; each has a future that tells what became of it."""

    def __init__(self, repository: Repository) -> None:
        super().__init__(name="committer", daemon=True)
        self._repository = repository
        self._waiting: queue.SimpleQueue[_Operation | None] = queue.SimpleQueue()
        self._aborted = threading.Event()
        self._writers: dict[str, Callable[[Connection, list[Any]], Any]] = {
            "plan": checkpointing.plan,
            "show": checkpointing.show,
            "finish": finishing.finish,
            "hand_over": finishing.hand_over,
            "seal": sealing.seal,
            "redraw": redrawing.redraw,
            "fail": failing.fail,
            "release": failing.give_back,
        }

    def finish(self, done: Done) -> Future[set[Pair]]:
        """Ends a render as succeeded; the future is empty when it was superseded."""
        return self._put("finish", {(done.render_id, done.fence)}, [done])

    def hand_over(self, done: Done) -> Future[set[Pair]]:
        """Queues the refine stage; the future is empty when the render was superseded."""
        return self._put("hand_over", {(done.render_id, done.fence)}, [done])

    def seal(self, packed: Packed) -> Future[set[Pair]]:
        """Makes a shard part of its dataset; the future is empty when it was superseded."""
        return self._put("seal", {(packed.render_id, packed.fence)}, [packed])

    def redraw(self, wanted: Redraw) -> Future[set[Pair]]:
        """Has images of a shard rendered again; the future is empty when its claim was superseded."""
        return self._put("redraw", {(wanted.render_id, wanted.fence)}, [wanted])

    def fail(self, failure: Failure) -> Future[set[Pair]]:
        """Records a failure and what follows from it."""
        return self._put("fail", {(failure.render_id, failure.fence)}, [failure])

    def release(self, pairs: Sequence[Pair]) -> Future[set[Pair]]:
        """Gives renders back of which nothing was saved, uncharged."""
        return self.give_back([Release(*pair) for pair in pairs])

    def give_back(self, releases: Sequence[Release]) -> Future[set[Pair]]:
        """Gives renders back with what was saved of them, uncharged."""
        return self._put("release", {(item.render_id, item.fence) for item in releases}, list(releases))

    def plan(self, saved: Saved) -> Future[set[Pair]]:
        """Writes down a checkpoint that is about to be put; the future is empty when it is not wanted."""
        return self._put("plan", {(saved.render_id, saved.fence)}, [saved])

    def show(self, saved: Saved) -> Future[set[Pair]]:
        """Makes a checkpoint that is in the bucket visible; the future is empty when it is not wanted."""
        return self._put("show", {(saved.render_id, saved.fence)}, [saved])

    def _put(self, kind: str, pairs: set[Pair], records: list[Any]) -> Future[Any]:
        operation = _Operation(kind, pairs, records)
        self._waiting.put(operation)
        return operation.answer

    def run(self) -> None:
        """Until `close`: takes what has gathered and commits it."""
        while True:
            batch = self._gather()
            operations = [item for item in batch if item is not None]
            if operations:
                self._commit(operations)
            if len(operations) < len(batch):
                return

    def _gather(self) -> list[_Operation | None]:
        batch = [self._waiting.get()]
        while batch[-1] is not None and len(batch) < BATCH:
            try:
                batch.append(self._waiting.get_nowait())
            except queue.Empty:
                break
        return batch

    def _commit(self, operations: list[_Operation]) -> None:
        while not self._aborted.is_set():
            try:
                found = self._repository.transact(lambda c: self._write(c, operations))
            except Exception as error:  # noqa: BLE001 - whoever waits for an answer must get one
                if is_away(error):
                    # Whatever was rendered is worth waiting for; the lease bounds how long.
                    get_logger().warning("commit_waits", error=str(error).splitlines()[0])
                    self._aborted.wait(AWAY_S)
                    continue
                self._one_by_one(operations, error)
                return
            for item in operations:
                answer = _own(item, found)
                _tell_refused(item, answer)
                item.answer.set_result(answer)
            return
        for item in operations:
            item.answer.cancel()

    def _write(self, connection: Connection, operations: list[_Operation]) -> dict[str, Any]:
        """One statement set per kind, whatever the number of renders."""
        found: dict[str, Any] = {}
        for kind, write in self._writers.items():
            records = [record for item in operations if item.kind == kind for record in item.records]
            if records:
                found[kind] = write(connection, records)
        return found

    def _one_by_one(self, operations: list[_Operation], error: Exception) -> None:
        """One bad operation must not take its neighbours along."""
        if len(operations) == 1:
            get_logger().error("commit_failed", error=repr(error))
            operations[0].answer.set_exception(error)
            return
        for item in operations:
            self._commit([item])

    def close(self, timeout_s: float) -> None:
        """Writes what is waiting, for at most `timeout_s` seconds, and ends the thread."""
        self._waiting.put(None)
        self.join(timeout_s)
        self._aborted.set()


def _own(operation: _Operation, found: dict[str, Any]) -> Any:
    """The part of a common answer that belongs to one operation."""
    # Absent when nothing was asked for.
    return operation.pairs.intersection(found.get(operation.kind, ()))


def _tell_refused(operation: _Operation, answer: Any) -> None:
    """Logs what came too late: after a rescue, a cancel, or the end of its stage.

    It does so before the answer is given, so that no line can be missing.
    """
    for render_id, fence in sorted(operation.pairs - answer):
        if operation.kind in RESULTS:
            get_logger().info("result_refused", kind=operation.kind, render=render_id, fence=fence)
        else:
            get_logger().info("write_refused", kind=operation.kind, render=render_id, fence=fence)
