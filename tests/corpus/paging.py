"""Cursors and limits that nobody was given, and Idempotency-Keys that are none or were used otherwise."""

from __future__ import annotations

import base64
from urllib.parse import quote

from tests.corpus.case import Case
from tests.corpus.letters import JSON

UUID7 = bytes.fromhex("0189000000007000800000000000000f")


def _coded(raw: bytes) -> str:
    return base64.urlsafe_b64encode(raw).decode().rstrip("=")


CURSORS = [
    "",
    " ",
    "nonsense",
    "0",
    "-1",
    "null",
    "a" * 1_000,
    _coded(b""),
    _coded(b"\x01"),
    _coded(b"\x00" + UUID7),
    _coded(b"\x02" + UUID7),
    _coded(b"\xff" + UUID7),
    _coded(b"\x01" + UUID7[:-1]),
    _coded(b"\x01" + UUID7 + b"\x00"),
    _coded(UUID7),
    _coded(b'{"id": 1}'),
    _coded(b"\x80\x04\x95\x05\x00\x00\x00\x00\x00\x00\x00."),
    "AQ+/" + "A" * 19,
    "../../etc",
    "' OR 1=1 --",
    "%",
    "\0",
    "🎈",
    "01890000-0000-7000-8000-000000000000",
]
QUERIES = [
    ("/v1/jobs?limit=0", "limit"),
    ("/v1/jobs?limit=-1", "limit"),
    ("/v1/jobs?limit=101", "limit"),
    ("/v1/jobs?limit=1e3", "limit"),
    ("/v1/jobs?limit=99999999999999999999", "limit"),
    ("/v1/jobs?limit=", "limit"),
    ("/v1/jobs?limit=ten", "limit"),
    ("/v1/jobs?state=done", "state"),
    ("/v1/jobs?state=", "state"),
    ("/v1/jobs?lane=fast", "lane"),
    ("/v1/jobs?kind=any", "kind"),
    ("/v1/jobs?model=%00", "model"),
    (f"/v1/jobs?model={'m' * 65}", "model"),
    ("/v1/jobs?created_after=now", "created_after"),
    ("/v1/jobs?created_after=2026-01-01", "created_after"),
    ("/v1/jobs?created_after=2026-13-01T00:00:00Z", "created_after"),
    ("/v1/jobs?created_before=1700000000", "created_before"),
    ("/v1/jobs?created_before=99999-01-01T00:00:00Z", "created_before"),
    ("/v1/datasets?limit=0", "limit"),
    ("/v1/keys?limit=1000", "limit"),
    ("/v1/keys?after=..", "after"),
    ("/v1/keys?after=%00", "after"),
    ("/v1/tenants?limit=-5", "limit"),
    ("/v1/tenants?after=a%20b", "name"),
    ("/v1/jobs/{mine}?images_from=-1", "images_from"),
    ("/v1/jobs/{mine}?images_from=1000001", "images_from"),
    ("/v1/jobs/{mine}?images_limit=65", "images_limit"),
    ("/v1/jobs/{mine}?images_limit=two", "images_limit"),
    ("/v1/jobs/{mine}/images/0?proxy=maybe", "proxy"),
]
KEYS = [b"", b"x" * 256, b"a\tb", b"caf\xe9", b"\x7f", b"\xf0\x9f\x8e\x88", b"a\x80", b"\xa0"]
PREFERS = [
    b"wait=0",
    b"wait=-1",
    b"wait=61",
    b"wait=1e1",
    b"wait=",
    b"wait",
    b"wait=1, wait=2",
    b"wait=\xb2",
    b"wait=1.5",
]
LAST = [b"x", b"-1", b"1.5", b"9999999999999999999", b"0x1", b"1 2", b"\xb2"]


def cases(mine: str) -> list[Case]:
    """All of them.

    Args:
        mine: id of a job of the tenant `acme`.
    """
    found = [
        Case("paging", 422, "invalid", "after", "GET", f"{path}?after={quote(cursor, safe='')}")
        for path in ("/v1/jobs", "/v1/datasets")
        for cursor in CURSORS
    ]
    found += [
        Case("paging", 422, "invalid", name, "GET", path.replace("{mine}", mine)) for path, name in QUERIES
    ]
    found += [
        Case(
            "paging",
            422,
            "invalid",
            "Last-Event-ID",
            "GET",
            f"/v1/jobs/{mine}/events",
            headers=((b"Last-Event-ID", value),),
        )
        for value in LAST
    ]
    good = b'{"prompt": "a", "lane": "bulk"}'
    for path in ("/v1/jobs", "/v1/jobs?dry_run=1", f"/v1/jobs/{mine}/refine"):
        raw = b"{}" if "refine" in path else good
        found += [
            Case(
                "idempotency",
                422,
                "invalid",
                "Idempotency-Key",
                path=path,
                raw=raw,
                headers=(*JSON, (b"Idempotency-Key", key)),
            )
            for key in KEYS
        ]
    first = (*JSON, (b"Idempotency-Key", b"the same"))
    found.append(Case("idempotency", 202, raw=good, headers=first))
    found.append(Case("idempotency", 202, raw=good, headers=first))
    found += [
        Case("idempotency", 422, "idempotency_mismatch", "Idempotency-Key", raw=other, headers=first)
        for other in (b'{"prompt": "b"}', b'{"prompt": "a"}', b'{"prompt": "a", "lane": "bulk", "seed": 1}')
    ]
    found += [
        Case("prefer", 422, "invalid", "Prefer", raw=good, headers=(*JSON, (b"Prefer", value)))
        for value in PREFERS
    ]
    return found
