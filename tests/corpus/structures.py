"""Bodies that are no JSON, or JSON that two readers would understand in two ways."""

from __future__ import annotations

import gzip
import zlib

from tests.corpus.case import Case
from tests.corpus.letters import JSON

NO_JSON = [
    b"",
    b" ",
    b"{",
    b"}",
    b"[",
    b'{"prompt"',
    b'{"prompt":',
    b'{"prompt":"a"',
    b'{"prompt":"a",}',
    b'{"prompt":"a"}}',
    b'{"prompt":"a"}{"prompt":"b"}',
    b'{"prompt":"a"}\x00',
    b'{"prompt":"a"} trailing',
    b"{'prompt':'a'}",
    b"{prompt:'a'}",
    b'{"prompt":"a" /* c */}',
    b'{"prompt":"a"} // c',
    b'{"prompt":"a\nb"}',
    b'{"prompt":"\x01"}',
    b'{"prompt":"\\x41"}',
    b'{"prompt":"\\u00g0"}',
    b'{"prompt":"\\u00"}',
    b'{"prompt":"a","seed":01}',
    b'{"prompt":"a","seed":+1}',
    b'{"prompt":"a","seed":1.}',
    b'{"prompt":"a","seed":.5}',
    b'{"prompt":"a","seed":0x10}',
    b'{"prompt":"a","seed":1_000}',
    b'{"prompt":"a","seed":1e}',
    b'{"prompt":"a","seed":--1}',
    b'{"prompt":"a","seed":1' + b"0" * 5_000 + b"}",
    b'{"prompt":"a","eta":NaN}',
    b'{"prompt":"a","eta":Infinity}',
    b'{"prompt":"a","eta":-Infinity}',
    b'{"prompt":"a","eta":1e999}',
    b'{"prompt":"a","eta":-1e999}',
    b'{"prompt":"a","eta":nan}',
    b'{"prompt":"a","reproducible":True}',
    b'{"prompt":undefined}',
    b"\xef\xbb\xbf{}",
    b'\xef\xbb\xbf{"prompt":"a"}',
    b'{"prompt":"\xff"}',
    b'{"prompt":"\xc0\xaf"}',
    b'{"prompt":"\xed\xa0\x80"}',
    b'{"prompt":"\xf4\x90\x80\x80"}',
    b'{"prompt":"\xe2\x82"}',
    b"\xff\xfe" + '{"prompt":"a"}'.encode("utf-16-le"),
    '{"prompt":"a"}'.encode("utf-32-be"),
    b"\x80\x02}q\x00.",
    b"<spec><prompt>a</prompt></spec>",
    b"prompt=a",
    b"prompt: a",
    gzip.compress(b'{"prompt":"a"}'),
    zlib.compress(b'{"prompt":"a"}'),
]
TWICE = {
    b'{"prompt":"a","prompt":"a"}': "prompt",
    b'{"prompt":"a","prompt":"b"}': "prompt",
    b'{"prompt":"a","\\u0070rompt":"b"}': "prompt",
    b'{"prompt":"a","metadata":{"k":"1","k":"2"}}': "k",
    b'{"prompt":"a","refiner":{"mode":"only","mode":"image"}}': "mode",
}
"""With the key that comes twice."""
DEEP = [b'{"prompt":"a","metadata":' + b"[" * n + b"]" * n + b"}" for n in (32, 33, 1_000, 100_000)] + [
    b'{"prompt":"a","metadata":' + b'{"k":' * n + b"1" + b"}" * n + b"}" for n in (32, 1_000, 50_000)
]
NO_OBJECT = [b"null", b"true", b"7", b'"text"', b"[]", b"[{}]", b'["prompt"]', b"7.5", b"-1"]
TYPES = [
    b"text/plain",
    b"application/jsonx",
    b"application/x-json",
    b"application/x-www-form-urlencoded",
    b"multipart/form-data; boundary=x",
    b"application/octet-stream",
    b"application/json5",
    b"json",
    b"*/*",
    b"",
    b",application/json",
    b"\xe9",
]
ENCODINGS = [b"gzip", b"deflate", b"br", b"zstd", b"identity, gzip", b"x-gzip"]


def cases() -> list[Case]:
    """All of them."""
    found = [
        Case("structures", 400, "malformed_json", TWICE.get(raw, "body"), raw=raw, headers=JSON)
        for raw in [*NO_JSON, *TWICE, *DEEP]
    ]
    found += [Case("structures", 422, "invalid", "body", raw=raw, headers=JSON) for raw in NO_OBJECT]
    found += [
        Case(
            "structures",
            415,
            "unsupported_media_type",
            "Content-Type",
            raw=b"{}",
            headers=((b"Content-Type", kind),),
        )
        for kind in TYPES
    ]
    packed = gzip.compress(b'{"prompt":"a"}')
    found += [
        Case(
            "structures",
            415,
            "unsupported_media_type",
            "Content-Encoding",
            raw=packed,
            headers=(*JSON, (b"Content-Encoding", name)),
        )
        for name in ENCODINGS
    ]
    return found
