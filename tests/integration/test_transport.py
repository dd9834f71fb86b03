"""The transport on a real Redis: no credit of the consumer may be lost, or it stops reading for ever."""

from __future__ import annotations

import base64
import contextlib
import json
import time
from typing import TYPE_CHECKING, Any

import pytest
from kombu.entity import Queue
from kombu.messaging import Consumer

from latentfarm.broker import celery_app
from latentfarm.envelope import Envelope
from latentfarm.messages import TASK
from latentfarm.transport import BRPOP_S

if TYPE_CHECKING:
    from collections.abc import Iterator

    from kombu.connection import Connection

    from latentfarm.broker import Broker
    from latentfarm.embedded.stack import Stack

QUEUE = "transport.test"
CREDIT = 2
WITHIN_S = 20.0


class Reader:
    """Takes messages as Celery does: at most `CREDIT` that nobody acknowledged."""

    def __init__(self, connection: Connection) -> None:
        self.connection = connection
        self.messages: list[Any] = []
        queues = [Queue(QUEUE)]  # type: ignore[no-untyped-call]  # kombu has no types
        channel = connection.default_channel
        self.consumer: Any = Consumer(channel, queues, on_message=self._take, prefetch_count=CREDIT)  # type: ignore[no-untyped-call]
        self.consumer.consume()  # type: ignore[no-untyped-call]

    def _take(self, message: Any) -> None:
        if message.headers["task"] != "latentfarm.deliver":
            raise TypeError("what Celery raises for some of what is no task")
        self.messages.append(message)

    def read(self, count: int) -> None:
        """Until so many messages were taken, over lost connections too."""
        until = time.monotonic() + WITHIN_S
        while len(self.messages) < count and time.monotonic() < until:
            try:
                self.connection.drain_events(timeout=0.2)  # type: ignore[no-untyped-call]
            except TimeoutError:
                continue
            except self.connection.connection_errors:
                time.sleep(0.1)


@pytest.fixture
def reader(broker: Broker, environment: dict[str, str]) -> Iterator[Reader]:
    with celery_app(environment["LATENTFARM_REDIS_URL"]).connection_for_read() as connection:
        yield Reader(connection)


def send(broker: Broker, count: int) -> None:
    envelope = Envelope(TASK)
    for _ in range(count):
        broker.redis.lpush(QUEUE, envelope.around({}, QUEUE))


def test_acknowledging_asks_nobody(broker: Broker, reader: Reader, stack: Stack) -> None:
    send(broker, CREDIT)
    reader.read(CREDIT)
    stack.services["redis"].hold()
    try:
        for message in reader.messages:
            message.ack()
    finally:
        stack.services["redis"].release()
        stack.services["redis"].wait_ready()
    send(broker, 1)
    reader.read(CREDIT + 1)
    assert len(reader.messages) == CREDIT + 1


def test_a_queue_that_is_switched_on_waits_for_no_long_read(broker: Broker, reader: Reader) -> None:
    with broker.redis.monitor() as monitor:  # type: ignore[no-untyped-call]
        with pytest.raises(TimeoutError):
            reader.connection.drain_events(timeout=0.1)  # type: ignore[no-untyped-call]
        asked = next(told["command"] for told in monitor.listen() if told["command"].startswith("BRPOP"))
    # One that names other queues holds the connection until it ends.
    assert asked.split()[1] == QUEUE
    assert float(asked.split()[-1]) == BRPOP_S <= 0.1


def test_what_comes_of_a_queue_that_was_switched_off_goes_back_without_a_warning(
    broker: Broker, reader: Reader, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr("latentfarm.transport.BRPOP_S", 30)
    with pytest.raises(TimeoutError):
        reader.connection.drain_events(timeout=0.1)  # type: ignore[no-untyped-call]
    reader.consumer.cancel()
    send(broker, 1)  # it goes to the BRPOP that was sent before
    assert broker.redis.llen(QUEUE) == 0
    until = time.monotonic() + WITHIN_S
    while not broker.redis.llen(QUEUE) and time.monotonic() < until:
        with contextlib.suppress(TimeoutError):
            reader.connection.drain_events(timeout=0.2)  # type: ignore[no-untyped-call]
    assert broker.redis.llen(QUEUE) == 1
    assert "No consumers" not in caplog.text
    item = broker.redis.rpop(QUEUE)
    assert isinstance(item, bytes)
    # What comes of a queue that nobody here ever consumed is still told.
    reader.connection.transport._deliver(json.loads(item), "another.queue")
    assert "'another.queue': No consumers" in caplog.text


def test_no_more_is_read_than_there_is_credit_for(broker: Broker, reader: Reader) -> None:
    send(broker, 2 * CREDIT)
    reader.read(CREDIT)
    with pytest.raises(TimeoutError):
        reader.connection.drain_events(timeout=0.5)  # type: ignore[no-untyped-call]
    assert (len(reader.messages), broker.redis.llen(QUEUE)) == (CREDIT, CREDIT)


def test_redis_is_told_of_no_delivery(broker: Broker, reader: Reader) -> None:
    send(broker, 1)
    reader.read(1)
    assert (broker.redis.exists("unacked"), broker.redis.exists("unacked_index")) == (0, 0)


@pytest.mark.parametrize("how", ["rejected", "the channel closes"])
def test_what_was_delivered_and_not_taken_goes_back(broker: Broker, reader: Reader, how: str) -> None:
    send(broker, CREDIT)
    reader.read(CREDIT)
    reader.messages[0].ack()
    if how == "rejected":
        reader.messages[1].reject(requeue=True)
    else:
        reader.connection.default_channel.qos.restore_unacked_once()
    assert broker.redis.llen(QUEUE) == 1
    item = broker.redis.rpop(QUEUE)
    assert isinstance(item, bytes)
    assert json.loads(item)["properties"] == reader.messages[1]._raw["properties"]


def test_an_item_that_is_no_message_gives_its_credit_back(broker: Broker, reader: Reader) -> None:
    for number in range(2 * CREDIT):
        broker.redis.lpush(QUEUE, json.dumps(ruined(number)))
    send(broker, 1)
    reader.read(1)
    assert len(reader.messages) == 1


def ruined(number: int) -> dict[str, Any]:
    properties = {"body_encoding": "base64", "delivery_tag": f"t{number}", "delivery_info": INFO}
    body = base64.b64encode(b"[]").decode()
    return {"body": body, "headers": {"task": ["no name"]}, "properties": properties}


INFO = {"exchange": "", "routing_key": QUEUE}
