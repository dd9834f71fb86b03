"""A worker's Celery on a real Redis: what it takes, what it leaves, and when messages count as waiting."""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING

import pytest
from celery.worker import state

from latentfarm.messages import CHUNK, queue_name
from latentfarm.records import Pick
from latentfarm.states import Lane, Stage
from tests.acceptance.farm import until
from worker.consumer import Consumer
from worker.inbox import Inbox

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from latentfarm.broker import Broker
    from latentfarm.registry import ModelEntry


@pytest.fixture
def inbox() -> Inbox:
    return Inbox(8)


@pytest.fixture
def consumer(environment: dict[str, str], inbox: Inbox, tiny_entry: ModelEntry) -> Iterator[Consumer]:
    consumer = Consumer(environment["LATENTFARM_REDIS_URL"], "test", inbox, [Stage.BASE], [tiny_entry])
    yield consumer
    # `stop` is a mark on the process, which is ours.
    state.should_stop = None


def send(broker: Broker, lane: Lane) -> None:
    broker.send(queue_name(Stage.BASE, "tiny", lane), [Pick(1, 1, False)], chunk=CHUNK)


def test_what_waits_is_asked_of_a_connected_consumer_only(
    broker: Broker, consumer: Consumer, inbox: Inbox
) -> None:
    readers: list[threading.Thread] = []
    inbox.changed = Noting(readers.append)
    send(broker, Lane.INTERACTIVE)
    assert not consumer.waiting()
    thread = threading.Thread(target=consumer.run, daemon=True)
    thread.start()
    until("the message is taken", lambda: consumer.taken == 1)
    assert inbox.take(0) == ([(1, 1)], False)
    assert not consumer.waiting()
    consumer.set_bulk(on=False)

    def one_stays() -> bool:
        # The queue is let go when the BRPOP that runs has ended, which may still take one message.
        if consumer.waiting():
            return True
        send(broker, Lane.BULK)
        return False

    until("one stays", one_stays, every_s=0.3)
    taken = consumer.taken
    send(broker, Lane.INTERACTIVE)
    until("interactive ones are still taken", lambda: consumer.taken > taken)
    consumer.stop()
    thread.join(20)
    assert not thread.is_alive()
    # The task runs where messages are read: no thread is woken for it.
    assert set(readers) == {thread}


class Noting(threading.Condition):
    """Tells who has notified."""

    def __init__(self, note: Callable[[threading.Thread], object]) -> None:
        super().__init__()
        self._note = note

    def notify_all(self) -> None:
        self._note(threading.current_thread())
        super().notify_all()
