"""What is foreseen of a turn is what `decide` does, turn by turn."""

from __future__ import annotations

from uuid import UUID

from hypothesis import given, settings
from hypothesis import strategies as st

from latentfarm.fairness import Credits, Standing, View, Waiting, decide
from latentfarm.fairness.foreseeing import Turn, foresee

NAMES = "abc"


@st.composite
def farms(draw: st.DrawFn) -> View:
    jobs = [
        Waiting(
            UUID(int=number + 1),
            draw(st.sampled_from(NAMES)),
            draw(st.integers(1, 6)),
            priority=draw(st.integers(0, 2)),
            waited_s=draw(st.integers(0, 500)) + number / 100,
        )
        for number in range(draw(st.integers(1, 6)))
    ]
    tenants = {
        name: Standing(
            weight=draw(st.sampled_from([0.5, 1.0, 2.0, 3.0])),
            deficit_s=draw(st.integers(-8, 8)),
            in_flight=draw(st.integers(0, 5)),
            cost_s=draw(st.none() | st.sampled_from([0.5, 1.0, 4.0])),
        )
        for name in draw(st.sets(st.sampled_from(NAMES)))
    }
    return View(tuple(jobs), tenants)


def turn_of(job: Waiting, view: View) -> Turn:
    own = [one for one in view.jobs if one.tenant == job.tenant and one is not job]
    beside = [one for one in own if one.priority == job.priority]
    return Turn(
        queued=job.queued,
        higher=sum(one.queued for one in own if one.priority > job.priority),
        before=sum(one.waited_s > job.waited_s for one in beside),
        beside=sum(min(one.queued, job.queued) for one in beside),
    )


def served(view: View, job: Waiting) -> tuple[int, int]:
    """Renders that `decide` takes before the first and the last of a job, one more turn at a time."""
    first = None
    for turns in range(1, sum(one.queued for one in view.jobs) + 1):
        taken = {one.job_id: one.count for one in decide(view, Credits(turns))}
        if first is None and job.job_id in taken:
            first = turns - 1
        if taken.get(job.job_id) == job.queued:
            return first or 0, turns - 1
    raise AssertionError("it was never served")


@given(farms())
@settings(max_examples=200, deadline=None)
def test_a_turn_comes_when_it_was_foreseen(view: View) -> None:
    job = view.jobs[0]
    waiting: dict[str, int] = {}
    for one in view.jobs:
        waiting[one.tenant] = waiting.get(one.tenant, 0) + one.queued
    first, last = foresee(view, job.tenant, turn_of(job, view), waiting)
    real_first, real_last = served(view, job)
    # Tenants that are equally far behind have their turn in some order; so have the last renders of jobs of one turn.
    assert abs(first - real_first) < len(NAMES)
    assert real_first <= real_last
    beside = sum(one.tenant == job.tenant for one in view.jobs)
    assert abs(last - real_last) <= (len(NAMES) - 1 + beside) * 8


def test_a_tenant_with_twice_the_weight_has_two_turns_of_three() -> None:
    view = View((), {"a": Standing(1.0), "b": Standing(2.0)})
    assert foresee(view, "a", Turn(10, 0, 0, 0), {"a": 10, "b": 100}) == (0, 27)
    assert foresee(view, "b", Turn(10, 0, 0, 0), {"a": 100, "b": 10}) == (0, 14)
    assert foresee(view, "a", Turn(10, 0, 0, 0), {"a": 10, "b": 5}) == (0, 14)


def test_jobs_of_the_tenant_take_turns_and_higher_ones_go_first() -> None:
    assert foresee(View(()), "a", Turn(3, 7, 2, 6), {"a": 20}) == (9, 15)


def test_who_is_owed_goes_first() -> None:
    view = View((), {"b": Standing(deficit_s=5)}, cost_s=1.0)
    assert foresee(view, "a", Turn(1, 0, 0, 0), {"a": 1, "b": 100})[0] == 5
    assert foresee(view, "a", Turn(1, 0, 0, 0), {"a": 1, "b": 3})[0] == 3
