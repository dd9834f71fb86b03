"""API keys without a database: what one looks like, what it may do, what of it is kept."""

from __future__ import annotations

import hashlib
import re

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from latentfarm.api_keys import PREFIX, Scope, allows, digest_of, draw, split, written
from latentfarm.key_views import KeyRequest

KEY = written("abcd1234", "s" * 43)


def test_a_key_is_a_visible_prefix_and_a_secret_of_256_bits() -> None:
    drawn = {draw() for _ in range(100)}
    assert len(drawn) == 100
    for prefix, secret in drawn:
        assert re.fullmatch(r"lf_[a-z0-9]{8}_[A-Za-z0-9_-]{43}", written(prefix, secret))
        assert split(written(prefix, secret)) == (prefix, secret)


def test_a_hash_alone_is_kept() -> None:
    assert digest_of("s" * 43) == hashlib.sha256(b"s" * 43).digest()


@pytest.mark.parametrize(
    "text",
    [
        "",
        "lf_",
        KEY[:-1],
        KEY + "s",
        KEY + "\n",
        " " + KEY,
        KEY.upper(),
        KEY.replace("lf_", "sk-"),
        "lf_é" + KEY[4:],
    ],
)
def test_anything_else_is_no_key(text: str) -> None:
    assert split(KEY) is not None
    assert split(text) is None


@given(st.text(max_size=80))
def test_no_text_breaks_the_reader(text: str) -> None:
    found = split(text)
    assert found is None or (written(*found) == text and PREFIX.fullmatch(found[0]))


def test_admin_holds_all_scopes_and_no_other_one_holds_two() -> None:
    for held in Scope:
        for needed in Scope:
            assert allows((held,), needed) == (held in (needed, Scope.ADMIN))
    assert not allows((), Scope.READ)


@pytest.mark.parametrize(
    "fields",
    [
        {"scopes": []},
        {"scopes": ["write"]},
        {"scopes": ["read"], "name": ""},
        {"scopes": ["read"], "name": "a b"},
        {"scopes": ["read"], "name": "x" * 65},
        {"scopes": ["read"], "name": "x\n"},
        {"scopes": ["read"], "tenant": "../a"},
        {"scopes": ["read"], "expires_days": 0},
        {"scopes": ["read"], "expires_days": 3_651},
        {"scopes": ["read"], "secret": "mine"},
    ],
)
def test_what_a_key_cannot_be_is_refused(fields: dict[str, object]) -> None:
    KeyRequest.model_validate(
        {"name": "a", "scopes": ["read", "submit"], "tenant": "", "expires_days": 3_650}
    )
    with pytest.raises(ValidationError):
        KeyRequest.model_validate({"name": "a"} | fields)
