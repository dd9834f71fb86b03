"""Multipart forms: what is in them, and what is none."""

from __future__ import annotations

import asyncio
import hashlib
from functools import partial
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from starlette.requests import Request

from api.openai import forms
from api.openai.edits import origin_of, request_of
from api.openai.forms import read_form
from api.problems import ProblemError
from latentfarm.errors import InvalidInput
from latentfarm.registry import ModelEntry

ENTRY = ModelEntry(name="toy", base="/nowhere/base")
BOUNDARY = "----b0undary"
KIND = f"multipart/form-data; boundary={BOUNDARY}"


def part(name: str, content: bytes, *, file: str | None = None) -> bytes:
    head = f'Content-Disposition: form-data; name="{name}"' + ("" if file is None else f'; filename="{file}"')
    return f"--{BOUNDARY}\r\n{head}\r\n\r\n".encode() + content + b"\r\n"


def whole(*parts: bytes) -> bytes:
    return b"".join(parts) + f"--{BOUNDARY}--\r\n".encode()


def read(body: bytes, kind: str = KIND, *, piece: int = 7, act: Any = None, length: str | None = None) -> Any:
    """What `act` makes of the form in a body that comes in small pieces."""

    pieces = [body[at : at + piece] for at in range(0, len(body), piece)] or [b""]

    async def receive() -> dict[str, Any]:
        here = pieces.pop(0)
        return {"type": "http.request", "body": here, "more_body": bool(pieces)}

    async def run() -> Any:
        async with read_form(Request(scope, receive)) as form:
            return act(form)

    headers = [(b"content-type", kind.encode("latin-1"))]
    if length is not None:
        headers.append((b"content-length", length.encode()))
    scope = {"type": "http", "method": "POST", "path": "/", "headers": headers}
    return asyncio.run(run())


def contents(form: forms.Form) -> list[tuple[str, bool, bytes]]:
    return [(part.name, part.file, form.content(part)) for part in form.parts]


@settings(deadline=None)
@given(st.lists(st.tuples(st.sampled_from(["a", "image", "x[y]"]), st.booleans(), st.binary(max_size=60))))
def test_what_is_in_a_form_comes_out_of_it(given: list[tuple[str, bool, bytes]]) -> None:
    body = whole(*(part(name, data, file="f.png" if file else None) for name, file, data in given))
    assert read(body, act=contents, piece=13) == given


def test_a_preamble_and_near_boundaries_are_no_parts() -> None:
    tricky = f"\r\n--{BOUNDARY[:-1]}\r\n--\r\n{BOUNDARY}\r\n\r\n".encode()
    body = b"preamble\r\n" + whole(part("a", tricky), part("b", b""))
    assert read(body, act=contents) == [("a", False, tricky), ("b", False, b"")]


def test_files_are_found_by_their_digest() -> None:
    def look(form: forms.Form) -> tuple[int, bytes, bytes]:
        given, made = form.digest(form.parts[0]), form.add(b"made")
        assert set(form) == {given, made}
        return len(form), form[given], form[made]

    assert read(whole(part("image", b"\0\r\n\xff", file="x")), act=look) == (2, b"\0\r\n\xff", b"made")


@pytest.mark.parametrize(
    ("body", "told"),
    [
        (b"", "is empty"),
        (b"nothing", "the boundary of the form is not in it"),
        (part("a", b"x"), "cut short"),
        (whole(part("a", b"x"))[:-10], "cut short"),
        (whole(f"--{BOUNDARY}\r\n\r\n\r\n".encode()), "no name"),
        (whole(f"--{BOUNDARY}\r\nX: y\r\n\r\nx\r\n".encode()), "no name"),
        (whole(f"--{BOUNDARY}\r\n{'X' * 5000}: y\r\n\r\nx\r\n".encode()), "cut short"),
        (whole(*(part("a", b"") for _ in range(101))), "too many parts"),
    ],
    ids=["empty", "none", "no end", "cut", "no head", "no name", "long head", "many"],
)
def test_what_is_no_form_is_refused(body: bytes, told: str) -> None:
    with pytest.raises(InvalidInput, match=told):
        read(body, act=contents, piece=4096)


@pytest.mark.parametrize(
    ("kind", "error"),
    [
        ("application/json", ProblemError),
        ("", ProblemError),
        ("multipart/form-data", InvalidInput),
        (f"multipart/form-data; boundary={'x' * 71}", InvalidInput),
    ],
)
def test_another_content_type_is_refused(kind: str, error: type[Exception]) -> None:
    with pytest.raises(error):
        read(whole(part("a", b"x")), kind, act=contents)


def test_a_form_that_is_too_large_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(forms, "MAX_FORM", 1000)
    for length in (None, "1001", "-1", "9" * 30):
        with pytest.raises(ProblemError) as refused:
            read(whole(part("image", b"x" * 1000, file="x")), act=contents, length=length)
        assert refused.value.status == 413


def test_texts_are_typed_as_their_fields() -> None:
    sent = {
        "prompt": b"5",
        "n": b"2",
        "stream": b"true",
        "strength": b"0.5",
        "seed": b"7",
        "negative_prompt": b"true",
        "sampler": b"euler",
        "refiner[mode]": b"image",
        "refiner[strength]": b"0.25",
        "metadata[a]": b"1",
        "embeddings[]": b"12",
        "loras": b'[{"name": "x", "weight": 0.5}]',
    }
    asked = read(whole(*(part(name, text) for name, text in sent.items())), act=request_of)
    assert (asked.prompt, asked.n, asked.stream) == ("5", 2, True)
    assert asked.fields == {
        "strength": 0.5,
        "seed": 7,
        "negative_prompt": "true",
        "sampler": "euler",
        "refiner": {"mode": "image", "strength": 0.25},
        "metadata": {"a": "1"},
        "embeddings": ["12"],
        "loras": [{"name": "x", "weight": 0.5}],
    }


@pytest.mark.parametrize(
    ("names", "told"),
    [
        (("prompt", "prompt"), "comes twice"),
        (("refiner", "refiner[mode]"), "comes twice"),
        (("refiner[mode]", "refiner[]"), "comes twice"),
        (("loras[][name]",), "cannot be the name of a field"),
        (("a b",), "cannot be the name of a field"),
        (("a" + "[b]" * 1_300,), "is nested too deep"),
        (("image",), "is no file"),
    ],
)
def test_names_that_cannot_be_are_refused(names: tuple[str, ...], told: str) -> None:
    with pytest.raises(InvalidInput, match=told):
        read(whole(*(part(name, b"euler") for name in names)), act=request_of)


@pytest.mark.parametrize("text", [b"\xff", b"a\0b", b"x" * 65_537], ids=["bytes", "nul", "long"])
def test_texts_that_cannot_be_are_refused(text: bytes) -> None:
    with pytest.raises((InvalidInput, ProblemError)):
        read(whole(part("prompt", text)), act=request_of, piece=4096)


@pytest.mark.parametrize(
    ("files", "told"),
    [
        ((), "image: 0 pictures"),
        (("image", "image"), "image: 2 pictures"),
        (("image[]", "image[]", "image[]"), "image: 3 pictures"),
        (("image", "mask", "mask"), "mask: 2 masks"),
        (("image", "markup"), "markup: is no file of an edit"),
    ],
)
def test_an_edit_has_one_picture(files: tuple[str, ...], told: str) -> None:
    with pytest.raises(InvalidInput, match=told):
        read(whole(*(part(name, b"x", file="x.png") for name in files)), act=partial(origin_of, entry=ENTRY))


def test_the_picture_of_an_edit_is_named_by_its_content() -> None:
    found = read(
        whole(part("prompt", b"a"), part("image[]", b"data", file="x.png")),
        act=partial(origin_of, entry=ENTRY),
    )
    assert found == {"image": f"sha256:{hashlib.sha256(b'data').hexdigest()}"}
