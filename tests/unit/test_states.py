"""The transition table: what may follow what, and that every live render has a way to an end."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from latentfarm.states import (
    FINAL,
    FINAL_JOB,
    LIVE,
    TRANSITIONS,
    JobState,
    RenderState,
    final_job_state,
    may_follow,
)

S = RenderState


def _reachable(start: RenderState) -> set[RenderState]:
    found, todo = set[RenderState](), [start]
    while todo:
        state = todo.pop()
        for before, after in TRANSITIONS:
            if before is state and after not in found:
                found.add(after)
                todo.append(after)
    return found


def test_states_are_live_or_final() -> None:
    assert set(RenderState) == LIVE | FINAL
    assert not LIVE & FINAL
    assert {S.SUCCEEDED, S.FAILED, S.CANCELLED} == FINAL


def test_nothing_follows_a_final_state_but_a_repair_a_redraw_or_a_retry() -> None:
    follows = {before: after for before, after in TRANSITIONS if before in FINAL}
    assert follows == {S.SUCCEEDED: S.QUEUED, S.FAILED: S.QUEUED}


@pytest.mark.parametrize("state", sorted(LIVE))
def test_a_live_render_can_reach_every_end(state: RenderState) -> None:
    assert _reachable(state) >= FINAL


def test_only_what_a_worker_claimed_can_succeed_or_fail() -> None:
    for end in (S.SUCCEEDED, S.FAILED):
        assert [before for before, after in TRANSITIONS if after is end] == [S.RUNNING]


def test_every_live_state_can_be_cancelled() -> None:
    assert all(may_follow(state, S.CANCELLED) for state in LIVE)
    assert not any(may_follow(state, S.CANCELLED) for state in FINAL)


def test_a_render_is_claimed_out_of_a_message_only() -> None:
    assert not may_follow(S.QUEUED, S.RUNNING)
    assert may_follow(S.DISPATCHED, S.RUNNING)


def test_the_stored_numbers_never_change() -> None:
    """Partial indexes and rows name them."""
    assert [(state.name, int(state)) for state in RenderState] == [
        ("QUEUED", 0),
        ("DISPATCHED", 1),
        ("RUNNING", 2),
        ("SUCCEEDED", 3),
        ("FAILED", 4),
        ("CANCELLED", 5),
    ]
    assert {S.QUEUED.label, S.CANCELLED.label} == {"queued", "cancelled"}


@given(cancelled=st.booleans(), failed=st.integers(0, 10_000))
def test_how_a_job_ends(*, cancelled: bool, failed: int) -> None:
    end = final_job_state(cancelled=cancelled, failed=failed)
    assert end in FINAL_JOB
    assert (end is JobState.CANCELLED) == cancelled
    if not cancelled:
        assert (end is JobState.FAILED) == (failed > 0)
