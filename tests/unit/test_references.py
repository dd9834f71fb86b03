"""What may stand in `image` and `mask_image`, and how a stranger's URL is read."""

from __future__ import annotations

import base64
import uuid
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from latentfarm.errors import InvalidInput
from latentfarm.explain import explain
from latentfarm.inputs.target import Target, read_target
from latentfarm.references import (
    MAX_DATA_BYTES,
    Content,
    Data,
    Remote,
    Upload,
    content,
    digests,
    is_reference,
    parse,
)
from latentfarm.spec import RenderSpec

ID = uuid.UUID("01890000-0000-7000-8000-00000000abcd")
DATA = "data:image/png;base64,"


def test_every_kind_is_read() -> None:
    assert parse("image", str(ID)) == Upload(ID)
    assert parse("image", str(ID).upper()) == Upload(ID)
    assert parse("image", "https://a.example/b.png") == Remote("https://a.example/b.png")
    assert parse("image", DATA + base64.b64encode(b"abc").decode()) == Data(b"abc")
    assert parse("image", f"sha256:{'ab' * 32}") == Content(b"\xab" * 32)
    assert parse("image", content(b"\xab" * 32)) == Content(b"\xab" * 32)


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("", "Client.upload"),
        ("cat.png", "Client.upload"),
        ("/tmp/cat.png", "Client.upload"),
        ("file:///etc/passwd", "Client.upload"),
        ("ftp://a.example/b.png", "Client.upload"),
        ("http://a.example/b.png", "https"),
        (f"sha256:{'AB' * 32}", "Client.upload"),
        (f"sha256:{'ab' * 31}", "Client.upload"),
        (f"sha256:{'ab' * 32}\n", "Client.upload"),
        (f"{{{ID}}}", "Client.upload"),
        (ID.hex, "Client.upload"),
        (f"{ID}\n", "Client.upload"),
        ("data:,hello", "data:image/png"),
        ("data:image/svg+xml;base64,AAAA", "data:image/png"),
        ("data:text/html;base64,AAAA", "data:image/png"),
        ("data:image/png,AAAA", "data:image/png"),
        (DATA + "!!!!", "base64"),
        (DATA + "AAA", "base64"),
        (DATA + "é" * 4, "base64"),
        (DATA + "A" * (MAX_DATA_BYTES * 4 // 3 + 8), "700 KiB"),
        ("https://a.example/" + "x" * 2_048, "2048"),
    ],
)
def test_what_is_no_reference_is_refused_by_name(text: str, told: str) -> None:
    with pytest.raises(InvalidInput, match=r"^mask_image: ") as caught:
        parse("mask_image", text)
    assert told in str(caught.value)
    assert len(str(caught.value)) < 400


def test_a_data_url_may_have_700_kib_and_no_byte_more() -> None:
    most = base64.b64encode(bytes(MAX_DATA_BYTES)).decode()
    assert parse("image", DATA + most) == Data(bytes(MAX_DATA_BYTES))
    with pytest.raises(InvalidInput, match="too large"):
        parse("image", DATA + base64.b64encode(bytes(MAX_DATA_BYTES + 1)).decode())


@given(st.text(max_size=200))
def test_any_text_is_read_or_refused(text: str) -> None:
    try:
        found = parse("image", text)
    except InvalidInput:
        return
    assert isinstance(found, Upload | Data | Remote | Content)
    assert is_reference(text)


def test_paths_have_not_the_look_of_a_reference() -> None:
    for path in ("cat.png", "./data.png", "/a/https/b", "C:\\cat.png", "sha256"):
        assert not is_reference(path)
    for reference in (str(ID), "data:x", "HTTPS://a", "http://a", "sha256:x"):
        assert is_reference(reference)


@pytest.mark.parametrize("value", ["cat.png", Path("cat.png"), "", "{x} {shown}", b"png", 5, ["x"]])
@pytest.mark.parametrize("field", ["image", "mask_image"])
def test_a_spec_with_a_path_says_what_to_do(field: str, value: object) -> None:
    with pytest.raises(ValidationError) as caught:
        RenderSpec.model_validate({"prompt": "a", field: value})
    told = explain(caught.value, RenderSpec)
    assert [error.field for error in told] == [field]
    assert "Client.upload(path)" in str(told[0])
    assert "https URL" in told[0].allowed


def test_digests_are_told_by_field_once_all_is_resolved() -> None:
    spec = RenderSpec(prompt="a", image=content(b"a" * 32), mask_image=content(b"b" * 32))
    assert digests(spec) == {"image": b"a" * 32, "mask_image": b"b" * 32}
    assert digests(RenderSpec(prompt="a")) == {}
    with pytest.raises(InvalidInput, match="image"):
        digests(RenderSpec(prompt="a", image=str(ID)))


@pytest.mark.parametrize(
    ("url", "target"),
    [
        ("https://a.example", Target("a.example", 443, "/")),
        ("HTTPS://A.Example/B?c=D#e", Target("a.example", 443, "/B?c=D")),
        ("https://a.example./x", Target("a.example", 443, "/x")),
        ("https://a.example:8443/x", Target("a.example", 8443, "/x")),
        ("https://xn--nxasmq6b.example/", Target("xn--nxasmq6b.example", 443, "/")),
        ("https://a.example/é%20b", Target("a.example", 443, "/%C3%A9%20b")),
        ("https://8.8.8.8/x", Target("8.8.8.8", 443, "/x")),
        ("https://[2606:4700:0::1]/x", Target("2606:4700::1", 443, "/x")),
        ("https://a.example/?u=http://10.0.0.1/", Target("a.example", 443, "/?u=http://10.0.0.1/")),
    ],
)
def test_a_url_is_read_in_one_way(url: str, target: Target) -> None:
    assert read_target("image", url) == target


@pytest.mark.parametrize(
    "url",
    [
        "https://",
        "https:///x",
        "https:a.example",
        "http://a.example/",
        "gopher://a.example/",
        "https://user@a.example/",
        "https://user:word@a.example/",
        "https://a.example@10.0.0.1/",
        "https://a.example%00@10.0.0.1/",
        "https://a.example\\@10.0.0.1/",
        "https://a.example\\.b/",
        "https://a.example /x",
        "https://a.example/x y",
        "https://a.example/x\r\nHost: b",
        "https://a.example/x\tb",
        "https://a.example/\x7f",
        "https://a.example/\u2028",
        "https://a.example:0x1bb/",
        "https://a.example:99999/",
        "https://a.example:-1/",
        "https://127.1/",
        "https://127.0.1/",
        "https://2130706433/",
        "https://0x7f000001/",
        "https://0x7f.0.0.1/",
        "https://0177.0.0.1/",
        "https://127.0.0.01/",
        "https://256.0.0.1/",
        "https://1.2.3.4.5/",
        "https://127.0.0.1.0x0/",
        "https://a.example.1/",
        "https://①②⑦.⓪.⓪.①/",
        "https://ünï.example/",
        "https://a。example/",
        "https://a..example/",
        "https://.example/",
        "https://-a.example/",
        "https://a-.example/",
        "https://a%2eexample/",
        "https://*.example/",
        f"https://{'a' * 64}.example/",
        f"https://{'a.' * 130}example/",
        "https://[::1/",
        "https://::1/",
        "https://[v1.a]/",
        "https://[fe80::1%25eth0]/",
        "https://[fe80::1%eth0]/",
        "https://[127.0.0.1]/",
    ],
)
def test_a_url_that_can_be_read_in_two_ways_is_refused(url: str) -> None:
    with pytest.raises(InvalidInput, match="image"):
        read_target("image", url)


@given(st.text(max_size=80))
def test_any_url_is_read_or_refused(text: str) -> None:
    try:
        target = read_target("image", f"https://{text}")
    except InvalidInput:
        return
    target.path.encode("ascii")
    target.authority.encode("ascii")
    assert not set(" \r\n\t\0") & set(target.path + target.host)
