"""Dispatch: what enters Redis next. The scheduler runs it always, the API for what it has just stored.

Order, fairness and priority are decided here, in SQL; Redis holds a bounded window of the backlog.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

from latentfarm.messages import CHUNK, MOST

if TYPE_CHECKING:
    from latentfarm.broker import Sender
    from latentfarm.records import Pick, Picked, Queue

WINDOW_CHUNKS = 3
"""Chunks per live worker that may be dispatched at once in one queue."""
WINDOW = WINDOW_CHUNKS * CHUNK
"""Renders, the same."""
FEW = 16
"""Messages that hold as much as a worker, where that is so much that they may hold more than `CHUNK` renders."""
LOST_AFTER_S = 5.0
"""Least age at which a message may count as lost."""
PATIENT_S = 60.0
"""The same, while the list is long enough to hold all that is dispatched."""


class Records(Protocol):
    """What dispatch needs of SQL; `repository.facade.Repository` has it."""

    def pick(self, queue: Queue, *, window_per_worker: int) -> Picked:
        """Marks due renders as dispatched while there is room; commits."""

    def take_lost(self, queue: Queue, *, after_s: float, room: int) -> list[Pick]:
        """Stamps renders whose message may be lost as sent now; commits."""

    def count_dispatched(self, queue: Queue) -> int:
        """How many renders have a message out."""


def chunk_size(picked: Picked) -> int:
    """Renders per message: so few that every worker gets two; at most `CHUNK`, or a part of what a worker holds.

    A message is all of one worker's: a large one leaves others idle while its renders wait for room.
    """
    workers = max(1, picked.workers)
    share = len(picked.picks) // workers // 2
    return max(1, min(share, CHUNK), min(share, MOST, picked.capacity // workers // FEW))


def dispatch(records: Records, sender: Sender, queue: Queue) -> int:
    """Fills the queue's window: pick, commit, then send.

    Returns:
        How many renders were dispatched.

    Raises:
        ServiceUnavailable: Redis took no messages. The renders stay dispatched and are sent again.
    """
    picked = records.pick(queue, window_per_worker=WINDOW)
    send(sender, picked)
    return len(picked.picks)


def send(sender: Sender, picked: Picked) -> None:
    """Sends what was picked and committed.

    Raises:
        ServiceUnavailable: as `dispatch`.
    """
    if picked.picks:
        sender.send(picked.queue.name, picked.picks, chunk=chunk_size(picked))


def republish(records: Records, sender: Sender, queue: Queue, *, flushed: bool) -> int:
    """Sends again what Redis has lost, and little else.

    With `flushed` all that is dispatched goes out at once. Otherwise a message is repeated when it is
    older than is usual in this queue; each repeat doubles the age. The number of messages in a queue
    never exceeds twice its window.

    Returns:
        How many renders were sent again.
    """
    dispatched = records.count_dispatched(queue)
    if dispatched == 0:
        return 0
    if flushed:
        picks = records.take_lost(queue, after_s=0.0, room=dispatched)
    else:
        waiting = sender.length(queue.name)
        after_s = max(LOST_AFTER_S, 3 * queue.wait_s)
        if waiting * (MOST if dispatched > FEW * CHUNK else CHUNK) >= dispatched:
            # All of them may be there. Should a few be missing all the same, they wait a little longer.
            after_s = max(PATIENT_S, 4 * after_s)
        picks = records.take_lost(queue, after_s=after_s, room=max(0, 2 * dispatched - waiting))
    if picks:
        sender.send(queue.name, picks, chunk=CHUNK)
    return len(picks)
