from __future__ import annotations

import string

from hypothesis import given
from hypothesis import strategies as st

from latentfarm.client_events import parse
from latentfarm.views import EventView

STREAM = """retry: 1000

: ping

id: 7
event: job.running
data: {"state":"running"}

event: progress
data: {"index":0,
data: "step":1}

data: no JSON

data: [1]

event: job.succeeded
data:{"state":"succeeded"}

event: cut off
data: {"""


def test_events_comments_and_pieces() -> None:
    assert list(parse(STREAM.splitlines())) == [
        EventView(id=7, type="job.running", data={"state": "running"}),
        EventView(id=None, type="progress", data={"index": 0, "step": 1}),
        EventView(id=None, type="job.succeeded", data={"state": "succeeded"}),
    ]


def test_only_the_end_of_a_job_is_final() -> None:
    types = ("job.running", "image.succeeded", "progress", "job.failed", "job.cancelled", "job.succeeded")
    final = [EventView(id=1, type=kind, data={}).is_final for kind in types]
    assert final == [False, False, False, True, True, True]


@given(st.lists(st.text(string.printable, max_size=20), max_size=20))
def test_no_stream_breaks_the_reader(lines: list[str]) -> None:
    for event in parse(lines):
        assert isinstance(event.data, dict)
