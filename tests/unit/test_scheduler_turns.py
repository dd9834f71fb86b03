"""Whose manifest is checked next."""

from __future__ import annotations

import dataclasses
from datetime import UTC, datetime
from typing import Any
from uuid import UUID

import pytest

from latentfarm.repository.sets import Dataset
from scheduler.turns import LARGE, Postponed, Turns


def dataset(number: int, tenant: str) -> Dataset:
    fields: dict[str, Any] = dict.fromkeys(field.name for field in dataclasses.fields(Dataset))
    return Dataset(
        **fields | {"id": UUID(int=number), "tenant": tenant, "created_at": datetime(2030, 1, 1, tzinfo=UTC)}
    )


A1, A2, B1, C1 = dataset(1, "a"), dataset(2, "a"), dataset(3, "b"), dataset(4, "c")


def test_a_tenant_has_one_turn_at_a_time() -> None:
    turns = Turns()
    with turns.held(A1) as mine:
        assert mine
        with turns.held(A2) as second:
            assert not second
        with turns.held(B1) as other:
            assert other
    with turns.held(A2) as mine:
        assert mine


def test_whose_last_turn_is_longest_ago_comes_first() -> None:
    turns = Turns()
    assert turns.in_order([B1, A2, A1]) == [A1, A2, B1]
    with turns.held(A1):
        pass
    # Tenant a was there first, and has had a turn: whoever came later is not to wait for all that it has.
    assert turns.in_order([A2, B1, C1]) == [B1, C1, A2]
    with turns.held(B1), turns.held(C1):
        pass
    assert turns.in_order([A2, B1, C1]) == [A2, B1, C1]


def test_of_large_manifests_one_is_checked_at_a_time() -> None:
    turns = Turns()
    with turns.held(A1), turns.held(B1), turns.held(C1):
        for one in (A1, B1, C1):
            turns.grown(one, LARGE)
        for _ in range(2):
            turns.grown(A1, LARGE + 1)
        with pytest.raises(Postponed):
            turns.grown(B1, LARGE + 1)
    # It is known by now, so that it is not read in vain while there is another one.
    with turns.held(C1):
        turns.grown(C1, LARGE + 1)
        with turns.held(B1) as mine:
            assert not mine
    with turns.held(B1) as mine:
        assert mine
        turns.grown(B1, LARGE + 1)
        with turns.held(C1), pytest.raises(Postponed):
            turns.grown(C1, LARGE + 1)
