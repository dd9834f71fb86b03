"""How long a request waits for its images, and whose word counts."""

from __future__ import annotations

import pytest

from api.openai.patience import patience_s


@pytest.mark.parametrize(
    ("headers", "waits_s"),
    [
        ({}, 570),
        ({"x-stainless-read-timeout": "600"}, 570),  # the stock client's own
        ({"x-stainless-read-timeout": "60"}, 55),
        ({"x-stainless-read-timeout": "60.0"}, 55),
        ({"x-stainless-read-timeout": "10"}, 8),  # so short a time leaves no five seconds
        ({"x-stainless-timeout": "120"}, 115),
        ({"x-stainless-timeout": "600", "x-stainless-runtime": "node"}, 295),
        ({"x-stainless-timeout": "600", "x-stainless-runtime": "bun"}, 570),
        ({"x-stainless-read-timeout": "60", "x-stainless-timeout": "30"}, 25),
        *(
            ({"x-stainless-read-timeout": text}, 570)
            for text in ("", "None", "nan", "inf", "-1", "0", "1e999", "x" * 9_000)
        ),
    ],
)
def test_a_request_is_answered_before_its_client_hangs_up(headers: dict[str, str], waits_s: float) -> None:
    assert patience_s(headers, 570) == waits_s
