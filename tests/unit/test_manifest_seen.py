"""What was seen before: a set with lines, in flat arrays."""

from __future__ import annotations

from latentfarm.manifests import seen
from latentfarm.manifests.seen import Seen


def test_a_value_is_found_at_the_line_where_it_came_first() -> None:
    ids = Seen(lines=True)
    assert ids.find("a") is None
    assert ids.add("a", 3) is None
    assert ids.add("a", 9) == 3
    assert (ids.find("a"), ids.find("b"), len(ids)) == (3, None, 1)


def test_everything_is_kept_while_the_set_grows() -> None:
    ids = Seen(lines=True)
    assert [ids.add(f"id-{number}", number) for number in range(20_000)] == [None] * 20_000
    assert [ids.find(f"id-{number}") for number in range(20_000)] == list(range(20_000))
    assert ids.find("id-20000") is None
    assert len(ids) == 20_000


def test_without_lines_it_only_knows_that() -> None:
    pictures = Seen(lines=False)
    assert (pictures.add(b"a"), pictures.add(b"a"), pictures.find(b"b")) == (None, 0, None)


def test_marks_that_meet_in_one_slot_stay_apart(monkeypatch: object) -> None:
    ids = Seen(lines=True)
    size = len(ids._marks)
    one, other = 5, 5 + size  # hash(n) is n
    ids.add(one, 1)  # type: ignore[arg-type]  # numbers have hashes that a test can choose
    ids.add(other, 2)  # type: ignore[arg-type]
    assert (ids.find(one), ids.find(other)) == (1, 2)  # type: ignore[arg-type]


def test_a_hash_of_zero_is_no_empty_slot() -> None:
    assert seen._mark(0) != 0  # type: ignore[arg-type]
    ids = Seen(lines=True)
    ids.add(0, 7)  # type: ignore[arg-type]
    assert ids.find(0) == 7  # type: ignore[arg-type]
