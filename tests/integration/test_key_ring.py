"""Keys in a real database: found while they are usable, noted, revoked, rotated; and no secret in any row."""

from __future__ import annotations

import itertools
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from typing import TYPE_CHECKING, Any

import pytest
from sqlalchemy import text

from latentfarm import key_ring
from latentfarm.api_keys import Scope, draw, split
from latentfarm.errors import Conflict, NotFound
from latentfarm.key_ring import KeyRing

if TYPE_CHECKING:
    from latentfarm.api_keys import ApiKey
    from latentfarm.repository.facade import Repository


@pytest.fixture
def ring(repository: Repository) -> KeyRing:
    return KeyRing(repository)


def make(ring: KeyRing, *scopes: Scope, **fields: Any) -> tuple[ApiKey, str]:
    return ring.create(**{"tenant": "a", "name": "one", "scopes": scopes or (Scope.READ,), **fields})


def do(ring: KeyRing, sql: str, **values: Any) -> Any:
    return ring.repository.transact(lambda c: c.execute(text(sql), values))


def used(ring: KeyRing) -> list[Any]:
    return [key.last_used_at for key in ring.listing()]


def test_a_key_is_found_by_its_whole_text(ring: KeyRing) -> None:
    key, secret = make(ring, Scope.SUBMIT, Scope.READ, Scope.SUBMIT)
    assert (key.tenant, key.name, key.scopes, key.expires_at) == (
        "a",
        "one",
        (Scope.SUBMIT, Scope.READ),
        None,
    )
    assert ring.find(secret) == key
    other = make(ring)[1]
    mixed = f"lf_{key.prefix}_{other[12:]}"
    for wrong in (
        mixed,
        secret[:-1] + ("A" if secret[-1] != "A" else "B"),
        secret[3:],
        "",
        f"lf_abcd1234_{'s' * 43}",
    ):
        assert ring.find(wrong) is None


def test_no_row_tells_the_secret(ring: KeyRing) -> None:
    key, secret = make(ring)
    ring.find(secret)
    rows = ring.repository.transact(
        lambda c: c.execute(text("SELECT k::text FROM api_keys k")).scalars().all()
    )
    assert len(rows) == 1
    parts = split(secret)
    assert parts is not None
    assert key.prefix in rows[0]
    assert parts[1] not in rows[0]
    assert parts[1].encode().hex() not in rows[0]


def test_a_key_ends_when_it_expires_and_when_it_is_revoked(ring: KeyRing) -> None:
    short, short_text = make(ring, good_s=3_600.0)
    lasting, lasting_text = make(ring)
    assert short.expires_at == short.created_at + timedelta(hours=1)
    assert ring.find(short_text)
    do(ring, "UPDATE api_keys SET expires_at = now() WHERE prefix = :p", p=short.prefix)
    assert ring.find(short_text) is None
    first = ring.revoke(lasting.prefix).revoked_at
    assert ring.find(lasting_text) is None
    assert ring.revoke(lasting.prefix).revoked_at == first
    for unknown in ("abcd1234", "", "x" * 500, "abcd123\x00"):
        with pytest.raises(NotFound):
            ring.revoke(unknown)


def test_a_use_is_noted_once_a_minute(ring: KeyRing) -> None:
    secret = make(ring)[1]
    assert used(ring) == [None]
    ring.find(secret)
    (first,) = used(ring)
    assert first is not None
    ring.find(secret)
    assert used(ring) == [first]
    do(ring, "UPDATE api_keys SET last_used_at = now() - interval '61 seconds'")
    ring.find(secret)
    assert used(ring) > [first]


def test_a_wrong_or_ended_key_is_not_used(ring: KeyRing) -> None:
    key, secret = make(ring)
    ring.find(secret[:-1] + ("A" if secret[-1] != "A" else "B"))
    ring.revoke(key.prefix)
    ring.find(secret)
    assert used(ring) == [None]


def test_rotation_leaves_both_good_for_a_while(ring: KeyRing) -> None:
    old, old_text = make(ring, Scope.SUBMIT, good_s=7_200.0)
    new, new_text = ring.rotate(old.prefix, overlap_s=3_600.0)
    assert (new.tenant, new.name, new.scopes) == (old.tenant, old.name, old.scopes)
    assert new.expires_at == new.created_at + timedelta(hours=2)
    shown = {key.prefix: key for key in ring.listing()}
    assert shown[old.prefix].replaced_by == new.prefix
    assert shown[old.prefix].expires_at == new.created_at + timedelta(hours=1)
    assert ring.find(old_text)
    assert ring.find(new_text)
    with pytest.raises(Conflict, match=new.prefix):
        ring.rotate(old.prefix, overlap_s=0)
    newest, newest_text = ring.rotate(new.prefix, overlap_s=0)
    assert ring.find(new_text) is None
    assert ring.find(newest_text)
    ring.revoke(newest.prefix)
    with pytest.raises(Conflict, match="revoked"):
        ring.rotate(newest.prefix, overlap_s=0)
    with pytest.raises(NotFound):
        ring.rotate("abcd1234", overlap_s=0)


def test_an_overlap_makes_no_key_last_longer(ring: KeyRing) -> None:
    old, _ = make(ring, good_s=60.0)
    ring.rotate(old.prefix, overlap_s=3_600.0)
    assert ring.listing()[0].expires_at == old.expires_at


def test_of_two_that_rotate_at_once_one_does(ring: KeyRing) -> None:
    old, _ = make(ring)

    def rotate(_: int) -> bool:
        try:
            ring.rotate(old.prefix, overlap_s=60)
        except Conflict:
            return False
        return True

    with ThreadPoolExecutor(8) as pool:
        assert sum(pool.map(rotate, range(8))) == 1
    assert len(ring.listing()) == 2


def test_prefixes_are_drawn_again_until_one_is_free(ring: KeyRing, monkeypatch: pytest.MonkeyPatch) -> None:
    key, _ = make(ring)
    drawn = itertools.chain([(key.prefix, draw()[1])] * 2, iter(draw, None))
    monkeypatch.setattr(key_ring, "draw", lambda: next(drawn))
    again, _ = make(ring)
    assert again.prefix != key.prefix
    assert len(ring.listing()) == 2


def test_lists_go_on_where_they_ended(ring: KeyRing) -> None:
    prefixes = [make(ring, tenant="ab"[i % 2])[0].prefix for i in range(5)]
    # Made by one statement, keys may have one time.
    do(ring, "UPDATE api_keys SET created_at = now() WHERE prefix = ANY (:some)", some=prefixes[2:])
    order = prefixes[:2] + sorted(prefixes[2:])
    found: list[str] = []
    while page := ring.listing(after=found[-1] if found else None, limit=2):
        found += [key.prefix for key in page]
    assert found == order
    assert {key.prefix for key in ring.listing(tenant="a")} == set(prefixes[::2])
    assert ring.listing(tenant="c") == []


def test_an_admin_is_one_whose_key_works(ring: KeyRing) -> None:
    make(ring, Scope.SUBMIT, Scope.READ, Scope.CANCEL)
    assert not ring.has_admin()
    expired, _ = make(ring, Scope.ADMIN)
    revoked, _ = make(ring, Scope.ADMIN)
    assert ring.has_admin()
    do(ring, "UPDATE api_keys SET expires_at = now() WHERE prefix = :p", p=expired.prefix)
    ring.revoke(revoked.prefix)
    assert not ring.has_admin()
