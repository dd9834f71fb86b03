"""The spool: what the first pass writes is what the second one reads."""

from __future__ import annotations

import gzip
from typing import Any

import pytest

from latentfarm.errors import InvalidInput
from latentfarm.manifests.parts import read_part, write_part
from latentfarm.manifests.sample import Sample


def sample(**changes: Any) -> Sample:
    fields: dict[str, Any] = {
        "ordinal": 7,
        "id": "a",
        "seed": 2**53 - 1,
        "picture": '{"prompt":"a"}',
        "digest": bytes(range(32)),
        "line": 3,
    }
    return Sample(**fields | changes)


AWKWARD = 'tab\tnewline\nreturn\r\u2028\u0085\x0b quote" ünïcode 🐈'


def test_samples_come_back_as_they_were() -> None:
    samples = [
        sample(),
        sample(ordinal=8, id=AWKWARD, metadata={AWKWARD: AWKWARD}),
        sample(picture='{"prompt":"ü \u2028 \u0085 \x0b"}'),
    ]
    assert list(read_part(write_part(samples))) == samples


def test_equal_samples_give_equal_bytes() -> None:
    part = write_part([sample()])
    assert part == write_part(iter([sample()]))
    assert part[4:8] == bytes(4)  # a time would make each writing another


def test_a_part_may_be_empty() -> None:
    assert list(read_part(write_part([]))) == []


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"no gzip",
        write_part([sample()])[:-9],
        gzip.compress(b"{}\n", mtime=0),
        gzip.compress(b"{}\t{}\n", mtime=0),
        gzip.compress(b'{"digest":"00","surplus":1}\t{}\n', mtime=0),
        gzip.compress(b"[]\t{}\n", mtime=0),
    ],
)
def test_what_is_no_part_is_refused(data: bytes) -> None:
    with pytest.raises(InvalidInput, match="no part of a spool"):
        list(read_part(data))
