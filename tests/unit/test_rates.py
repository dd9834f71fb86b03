"""Rates as texts, and whose an address is."""

from __future__ import annotations

import pytest
from starlette.requests import Request

from api.rates import address_of
from latentfarm.errors import InvalidInput
from latentfarm.rates import Rate, parse_rates


@pytest.mark.parametrize(
    ("text", "rates"),
    [
        ("", ()),
        ("none", ()),
        ("5/second", (Rate(5, "second"),)),
        ("100/second;3000/minute;9/hour", (Rate(100, "second"), Rate(3000, "minute"), Rate(9, "hour"))),
    ],
)
def test_what_is_written_is_read(text: str, rates: tuple[Rate, ...]) -> None:
    assert parse_rates(text, "rate") == rates


@pytest.mark.parametrize(
    "text",
    [
        "5",
        "0/second",
        "-1/second",
        "5/day",
        "5/second;",
        "5/second;6/second",
        "none;5/second",
        "5 /second",
        "1e3/hour",
    ],
)
def test_what_cannot_be_read_is_refused_by_name(text: str) -> None:
    with pytest.raises(InvalidInput, match="rate: cannot read"):
        parse_rates(text, "rate")


@pytest.mark.parametrize(
    ("host", "whose"),
    [
        ("192.0.2.7", "192.0.2.7"),
        ("::ffff:192.0.2.7", "192.0.2.7"),
        ("2001:db8:1:2:aaaa::1", "2001:db8:1:2::/64"),
        ("2001:db8:1:2:bbbb::2", "2001:db8:1:2::/64"),
        ("fe80::1%eth0", "fe80::/64"),
        ("testclient", "testclient"),
        (None, ""),
    ],
)
def test_a_household_has_one_address(host: str | None, whose: str) -> None:
    client = None if host is None else (host, 1)
    assert address_of(Request({"type": "http", "client": client, "headers": []})) == whose
