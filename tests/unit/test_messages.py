"""What crosses Redis: round trips, size, and what is refused."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from latentfarm.errors import BadMessage
from latentfarm.messages import MOST, VERSION, Message, decode, queue_name
from latentfarm.states import Lane, Stage

pairs = st.tuples(st.integers(1, 2**63 - 1), st.integers(0, 2**31 - 1))
messages = st.builds(Message, st.lists(pairs, min_size=1, max_size=MOST).map(tuple), alone=st.booleans())
json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
    max_leaves=10,
)


@given(messages)
def test_what_is_sent_is_what_is_read(message: Message) -> None:
    assert decode(json.loads(json.dumps(message.encode()))) == message


@given(messages)
def test_a_message_stays_under_1_kb(message: Message) -> None:
    assert len(json.dumps(message.encode())) < 1024


@pytest.mark.parametrize(
    "change",
    [
        {"v": VERSION + 1},
        {"v": None},
        {"renders": []},
        {"renders": [[1, 2]] * (MOST + 1)},
        {"renders": [[1]]},
        {"renders": [[1, 2, 3]]},
        {"renders": [["1", 2]]},
        {"renders": [[1, 2.0]]},
        {"renders": [[True, 2]]},
        {"renders": [[2**63, 1]]},
        {"renders": [[-1, 1]]},
        {"renders": [[1, 2**31]]},
        {"renders": {"1": 2}},
        {"alone": 1},
    ],
)
def test_anything_else_is_refused_with_what_came(change: dict[str, Any]) -> None:
    payload = {**Message(((1, 2),)).encode(), **change}
    with pytest.raises(BadMessage) as refused:
        decode(payload)
    assert refused.value.payload is payload


@given(json_values)
def test_rubbish_is_a_bad_message_and_nothing_worse(payload: object) -> None:
    with pytest.raises(BadMessage):
        decode(payload)


def test_a_message_without_the_mark_is_not_for_a_suspect() -> None:
    assert decode({"v": VERSION, "renders": [[1, 0]]}).alone is False


def test_queues_are_named_by_stage_model_and_lane() -> None:
    assert queue_name(Stage.BASE, "tiny", Lane.BULK) == "base.tiny.bulk"
    assert queue_name(Stage.REFINE, "tiny", Lane.INTERACTIVE) == "refine.tiny.interactive"
