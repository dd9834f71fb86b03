"""A render that failed on a device is left to another one, while there is one, and never for ever."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from sqlalchemy import event

from latentfarm.errors import ErrorClass
from tests.integration.device import Device, column, run, submit

if TYPE_CHECKING:
    from latentfarm.repository.facade import Repository

NAN = ErrorClass.NON_FINITE


@pytest.fixture
def one(repository: Repository) -> Device:
    return Device(repository, "cuda:0")


def test_the_next_try_is_another_devices(repository: Repository, one: Device) -> None:
    other = Device(repository, "cuda:1")
    (render,) = submit(repository)
    one.fail(NAN, render)
    starts = column(repository, "SELECT starts FROM renders")
    fence = column(repository, "SELECT fence FROM renders")[0]
    assert one.claim(render) == []
    assert column(repository, "SELECT starts FROM renders") == starts
    assert column(repository, "SELECT fence FROM renders")[0] > fence
    later = "SELECT count(*) FROM renders r, attempts a WHERE r.state = 0 AND r.due_at > a.refused_at"
    assert column(repository, later) == [1]
    assert column(repository, "SELECT queued FROM jobs") == [1]
    assert column(repository, "SELECT count(*) FROM attempts") == [1]
    assert [item.render_id for item in other.claim(render)] == [render]
    assert column(repository, "SELECT queued FROM jobs") == [0]


def test_what_came_in_the_same_message_is_claimed(repository: Repository, one: Device) -> None:
    Device(repository, "cuda:1")
    renders = submit(repository, 3)
    one.fail(NAN, renders[1])
    assert [item.render_id for item in one.claim(*renders)] == [renders[0], renders[2]]
    assert column(repository, "SELECT count(*) FROM objects WHERE state = 'planned'") == [3]
    assert column(repository, "SELECT queued FROM jobs") == [1]


@pytest.mark.parametrize(
    "lack",
    [
        "ended_at = now()",
        "lease_until = now()",
        "ready = false",
        "assigned_models = '{else}'",
        "stages = '{1}'",
        "device = 'cuda:0'",
    ],
)
def test_without_another_device_that_could_the_same_one_tries_again(
    repository: Repository, one: Device, lack: str
) -> None:
    other = Device(repository, "cuda:1")
    run(repository, f"UPDATE workers SET {lack} WHERE id = :id", id=other.worker)
    (render,) = submit(repository)
    one.fail(NAN, render)
    assert len(one.claim(render)) == 1


def test_a_new_incarnation_of_the_device_is_no_other_device(repository: Repository, one: Device) -> None:
    Device(repository, "cuda:1")
    (render,) = submit(repository)
    one.fail(NAN, render)
    one.start()
    assert one.claim(render) == []


def test_after_twenty_seconds_anybody_may_have_it(repository: Repository, one: Device) -> None:
    Device(repository, "cuda:1")
    (render,) = submit(repository)
    one.fail(NAN, render)
    run(repository, "UPDATE attempts SET ended_at = now() - interval '1 hour'")
    assert one.claim(render) == [], "the time in the queue does not count"
    run(repository, "UPDATE attempts SET refused_at = refused_at - interval '19 s'")
    assert one.claim(render) == []
    run(repository, "UPDATE attempts SET refused_at = refused_at - interval '2 s'")
    assert len(one.claim(render)) == 1


def test_what_was_refunded_or_charged_to_nobody_is_refused_nowhere(
    repository: Repository, one: Device
) -> None:
    Device(repository, "cuda:1")
    lost, transient, refunded = (submit(repository)[0] for _ in range(3))
    one.claim(lost)
    repository.end_worker(one.worker, "exited with -9")
    one.start()
    one.fail(ErrorClass.TRANSIENT, transient)
    one.fail(NAN, refunded)
    run(repository, "UPDATE attempts SET refunded = true WHERE render_id = :id", id=refunded)
    assert len(one.claim(lost, transient, refunded)) == 3


def test_a_fresh_render_costs_no_further_statement(repository: Repository, one: Device) -> None:
    Device(repository, "cuda:1")
    fresh, tried = submit(repository, 4), submit(repository, 4)
    for render in tried:
        one.fail(ErrorClass.MODEL, render)
    seen: list[str] = []
    event.listen(repository.engine, "before_cursor_execute", lambda *given: seen.append(given[2]))
    one.claim(*fresh)
    assert seen
    assert not [statement for statement in seen if "refused_at" in statement]
    one.claim(*tried)
    assert [statement for statement in seen if "refused_at" in statement]
