"""What follows a failure or a death: who is charged, when it is tried again, when it ends."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from latentfarm.errors import ErrorClass
from latentfarm.retry import (
    MAX_STARTS,
    MAX_TRIES,
    POLICIES,
    TELLING,
    GiveUp,
    Retry,
    decide,
    decide_death,
)

classes = st.sampled_from(ErrorClass)
tries = st.integers(0, MAX_TRIES - 1)
starts = st.integers(1, MAX_STARTS)


HOPELESS = {ErrorClass.INPUT, ErrorClass.USER}


@given(classes, tries, starts, st.booleans())
def test_a_render_ends_exactly_when_its_tries_or_starts_are_used_up(
    error_class: ErrorClass, tries: int, starts: int, alone: bool
) -> None:
    decision = decide(error_class, tries=tries, starts=starts, alone=alone)
    used_up = tries + decision.charge >= MAX_TRIES or starts >= MAX_STARTS
    assert isinstance(decision, GiveUp) == (used_up or error_class in HOPELESS)


@given(classes, tries, starts)
def test_a_second_device_ends_a_render_when_both_failures_tell_of_it(
    error_class: ErrorClass, tries: int, starts: int
) -> None:
    decision = decide(error_class, tries=tries, starts=starts, alone=True, elsewhere=True)
    telling = {
        ErrorClass.MEMORY,
        ErrorClass.DEVICE,
        ErrorClass.NON_FINITE,
        ErrorClass.DEFECT,
    }
    assert telling == TELLING
    if error_class in telling:
        assert decision == GiveUp(1)
    else:
        assert decision == decide(error_class, tries=tries, starts=starts, alone=True)


def test_neighbours_of_a_dead_device_are_charged_nothing() -> None:
    for elsewhere in (False, True):
        assert decide(ErrorClass.DEVICE, tries=1, starts=2, elsewhere=elsewhere) == Retry(0.0, 0)


def test_trouble_with_services_charges_nobody() -> None:
    free = {name for name in ErrorClass if decide(name, tries=0, starts=1, alone=True).charge == 0}
    assert free == {ErrorClass.TRANSIENT}


def test_every_class_has_a_policy_in_one_sentence() -> None:
    assert list(POLICIES) == list(ErrorClass)
    for policy in POLICIES.values():
        assert policy.text.endswith(".")
        assert ". " not in policy.text


def test_a_spec_that_cannot_be_rendered_is_tried_once() -> None:
    for hopeless in (ErrorClass.USER, ErrorClass.INPUT):
        assert decide(hopeless, tries=0, starts=1) == GiveUp(1)


def test_lost_latents_send_back_to_the_base_and_nothing_else_does() -> None:
    for error_class in set(ErrorClass) - HOPELESS:
        decision = decide(error_class, tries=0, starts=1)
        assert isinstance(decision, Retry)
        assert decision.rewind == (error_class is ErrorClass.LATENTS)


def test_each_further_start_waits_longer() -> None:
    delays = []
    for start in range(1, MAX_STARTS):
        decision = decide(ErrorClass.TRANSIENT, tries=0, starts=start)
        assert isinstance(decision, Retry)
        delays.append(decision.delay_s)
    assert delays == sorted(set(delays))
    assert delays[0] > 0


@pytest.mark.parametrize("neighbours_tries", range(MAX_TRIES))
def test_neighbours_of_a_death_are_not_charged(neighbours_tries: int) -> None:
    assert decide_death(alone=False, tries=neighbours_tries, starts=1) == Retry(0.0, 0)


def test_deaths_alone_end_a_render_at_the_third() -> None:
    outcomes = [decide_death(alone=True, tries=n, starts=n + 2) for n in range(MAX_TRIES)]
    assert outcomes == [Retry(0.0, 1), Retry(0.0, 1), GiveUp(1)]


def test_no_render_starts_more_often_than_the_limit() -> None:
    assert decide_death(alone=False, tries=0, starts=MAX_STARTS) == GiveUp(0)
    assert decide(ErrorClass.TRANSIENT, tries=0, starts=MAX_STARTS) == GiveUp(0)
