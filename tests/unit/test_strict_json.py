from __future__ import annotations

import json
import math
import tracemalloc

import pytest
from hypothesis import given
from hypothesis import strategies as st

from latentfarm.errors import InvalidInput, MalformedJson
from latentfarm.strict_json import MAX_DEPTH, MAX_KEYS, loads

TEXT = st.text(st.characters(exclude_characters="\x00", exclude_categories=["Cs"]))
NUMBERS = st.integers() | st.floats(allow_nan=False, allow_infinity=False)
DOCUMENTS = st.recursive(
    st.none() | st.booleans() | NUMBERS | TEXT,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(TEXT, inner, max_size=4),
    max_leaves=20,
)


@given(DOCUMENTS)
def test_what_json_wrote_is_read_again(document: object) -> None:
    assert loads(json.dumps(document).encode()) == document


PIECES = [
    *(bytes([byte]) for byte in b'{}[]:,"1 '),
    b"NaN",
    b"1e999",
    b'"a"',
    rb'"\u0000"',
    rb'"\ud800"',
    b"\xff",
]
"""What puts together both documents and their near misses; of random bytes hardly any are JSON."""


@given(st.binary(max_size=200) | st.lists(st.sampled_from(PIECES), max_size=12).map(b"".join))
def test_any_bytes_are_read_as_python_does_or_refused(data: bytes) -> None:
    refused = None
    try:
        value = loads(data)
    except InvalidInput as error:
        refused = error
    if refused is None:
        assert value == json.loads(data)
        # What PostgreSQL can store: no NaN, no half of a surrogate pair, no NUL.
        text = json.dumps(value, allow_nan=False, ensure_ascii=False)
        assert b"\\u0000" not in text.encode()
    else:
        assert refused.field
        assert refused.message


def test_whole_numbers_may_have_a_point() -> None:
    read = loads(b"[50.0, 2.5, 1e3, -0.0]")
    assert read == [50, 2.5, 1000, 0]
    assert [type(value) for value in read] == [int, float, int, int]


def test_large_floats_stay_floats() -> None:
    assert math.isclose(loads(b"1e300"), 1e300)


@pytest.mark.parametrize("levels", [MAX_DEPTH + 1, 500, 300_000])
def test_deep_nesting_is_refused(levels: int) -> None:
    with pytest.raises(MalformedJson, match="nested deeper"):
        loads(b"[" * levels + b"]" * levels)


def test_the_allowed_depth_is_read() -> None:
    assert loads(b"[" * MAX_DEPTH + b"]" * MAX_DEPTH)


def test_the_place_of_a_bad_string_is_named() -> None:
    with pytest.raises(InvalidInput, match=r"^a\.1\.b:"):
        loads(rb'{"a": ["x", {"b": "\u0000"}]}')


def test_a_bad_key_is_named_printably() -> None:
    with pytest.raises(InvalidInput, match=r"NUL") as refused:
        loads(rb'{"a": {"\u0000": 1}}')
    assert refused.value.field == "a"


def test_a_key_that_comes_twice_is_named_quickly() -> None:
    keys = ", ".join(f'"{i}": 0' for i in range(MAX_KEYS - 1))
    with pytest.raises(MalformedJson, match=r"^7: this key comes twice"):
        loads(f'{{{keys}, "7": 1}}'.encode())


def test_an_object_has_so_many_keys_and_no_more() -> None:
    most = {str(number): 0 for number in range(MAX_KEYS)}
    assert loads(json.dumps(most).encode()) == most
    with pytest.raises(MalformedJson, match=f"body: an object of {MAX_KEYS + 1} keys"):
        loads(json.dumps(most | {"one more": 0}).encode())


def test_many_values_under_a_long_name_take_no_memory_for_their_places() -> None:
    """With the places of all of them written out this took 100 MB, and a body of 1 MiB could take 125 GB."""
    nested = b'{"%s": [%s], "after": "x"}' % (b"k" * 2_000, b",".join([b"0"] * 50_000))
    tracemalloc.start()
    try:
        read = loads(nested)
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert len(read["k" * 2_000]) == 50_000
    assert peak < 4 * 2**20


def test_the_place_of_a_bad_string_under_a_long_name_is_cut() -> None:
    with pytest.raises(InvalidInput) as refused:
        loads(b'{"%s": [["\\u0000"]]}' % (b"k" * 2_000))
    assert refused.value.field == "k" * 200
