"""The spool: what the first pass writes is what the second one reads."""

from __future__ import annotations

import gzip
from typing import Any

import pytest

from latentfarm.errors import InvalidInput
from latentfarm.manifests import parts
from latentfarm.manifests.parts import first_of, read_part, write_part
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


def test_so_many_samples_are_taken_at_once_as_have_few_bytes(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(parts, "PART_BYTES", 8)
    samples = [sample(ordinal=number, picture="ü" * 2) for number in range(5)]
    left = iter(samples)
    assert first_of(left) == samples[:2]
    assert list(left) == samples[2:]
    assert first_of([sample(picture="a" * 99)] * 2) == [sample(picture="a" * 99)]
    assert first_of([]) == []


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
