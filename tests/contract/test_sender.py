"""What every `Sender` must do. Celery over Redis is the only one."""

from __future__ import annotations

import base64
import json
from typing import TYPE_CHECKING, Any

import pytest

from latentfarm.broker import Broker, celery_app
from latentfarm.errors import ServiceUnavailable
from latentfarm.messages import TASK, Message, decode
from latentfarm.records import Pick

if TYPE_CHECKING:
    from collections.abc import Iterator

    from latentfarm.broker import Sender

QUEUE = "base.tiny.bulk"


@pytest.fixture
def sender(broker: Broker) -> Sender:
    """The static type says that the adapter fits."""
    return broker


def picks(count: int, *, alone: bool = False) -> list[Pick]:
    return [Pick(number, number + 100, alone) for number in range(1, count + 1)]


def received(broker: Broker) -> list[Message]:
    """Everything in the queue, oldest first, as a worker would read it."""
    found = []
    while raw := broker.redis.rpop(QUEUE):
        assert isinstance(raw, bytes)
        envelope = json.loads(raw)
        assert envelope["headers"]["task"] == TASK
        assert (envelope["content-type"], len(raw) < 3000) == ("application/json", True)
        arguments, _, _ = json.loads(base64.b64decode(envelope["body"]))
        found.append(decode(arguments[0]))
    return found


def lone(broker: Broker) -> dict[str, Any]:
    """The one message in the queue, but for what is each message's own."""
    raw = broker.redis.rpop(QUEUE)
    assert isinstance(raw, bytes)
    assert not broker.redis.exists(QUEUE)
    found: dict[str, Any] = json.loads(raw)
    headers, properties = found["headers"], found["properties"]
    ids = {headers.pop("id"), headers.pop("root_id"), properties.pop("correlation_id")}
    assert len(ids) == 1
    assert properties.pop("delivery_tag")
    # Whose answers nobody sends, and what is only shown in logs.
    del headers["origin"], properties["reply_to"], headers["argsrepr"], headers["kwargsrepr"]
    found["body"] = json.loads(base64.b64decode(found["body"]))
    return found


def test_a_message_is_what_celery_itself_would_have_put_there(
    sender: Sender, broker: Broker, environment: dict[str, str]
) -> None:
    sender.send(QUEUE, picks(2), chunk=8)
    ours = lone(broker)
    app = celery_app(environment["LATENTFARM_REDIS_URL"])
    app.send_task(TASK, args=[Message(((1, 101), (2, 102))).encode()], queue=QUEUE)
    app.close()
    assert ours == lone(broker)


def test_no_two_messages_have_the_same_id(sender: Sender, broker: Broker) -> None:
    sender.send(QUEUE, picks(20), chunk=1)
    found = [json.loads(raw) for raw in broker.redis.lrange(QUEUE, 0, -1)]
    assert len({one["headers"]["id"] for one in found}) == 20
    assert len({one["properties"]["delivery_tag"] for one in found}) == 20


@pytest.mark.parametrize(
    ("count", "chunk", "sizes"), [(0, 8, []), (1, 8, [1]), (20, 8, [8, 8, 4]), (3, 1, [1, 1, 1])]
)
def test_picks_travel_in_chunks_and_in_order(
    sender: Sender, broker: Broker, count: int, chunk: int, sizes: list[int]
) -> None:
    sender.send(QUEUE, picks(count), chunk=chunk)
    assert sender.length(QUEUE) == len(sizes)
    messages = received(broker)
    assert [len(message.renders) for message in messages] == sizes
    assert [pair for message in messages for pair in message.renders] == [
        (pick.render_id, pick.fence) for pick in picks(count)
    ]


def test_suspects_travel_alone(sender: Sender, broker: Broker) -> None:
    sender.send(QUEUE, [*picks(2), *picks(2, alone=True)], chunk=8)
    assert [(len(message.renders), message.alone) for message in received(broker)] == [
        (2, False),
        (1, True),
        (1, True),
    ]


def test_an_unknown_queue_is_empty(sender: Sender) -> None:
    assert sender.length("refine.none.bulk") == 0


@pytest.fixture
def gone() -> Iterator[Broker]:
    broker = Broker("redis://127.0.0.1:1/0")
    yield broker
    broker.close()


def test_a_redis_that_is_away_is_told(gone: Broker) -> None:
    for act in (
        lambda: gone.send(QUEUE, picks(1), chunk=8),
        lambda: gone.length(QUEUE),
        gone.lost_everything,
        gone.mark_epoch,
    ):
        with pytest.raises(ServiceUnavailable):
            act()


def test_a_flush_is_noticed(broker: Broker) -> None:
    assert broker.lost_everything()
    broker.mark_epoch()
    assert not broker.lost_everything()
    broker.redis.flushall()
    assert broker.lost_everything()


def test_nothing_but_lists_and_the_mark_is_left_in_redis(sender: Sender, broker: Broker) -> None:
    sender.send(QUEUE, picks(16), chunk=8)
    broker.mark_epoch()
    received(broker)
    left = {key.decode() for key in broker.redis.scan_iter()}
    assert {name for name in left if not name.startswith("_kombu.binding.")} == {"latentfarm:epoch"}
