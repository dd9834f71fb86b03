"""Whose fault it was: renders that fail on two devices, devices that fail several renders."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from latentfarm.errors import ErrorClass
from latentfarm.repository import blaming
from latentfarm.retry import BLAMES_DEVICE
from tests.integration.device import Device, column, run, submit

if TYPE_CHECKING:
    from latentfarm.repository.facade import Repository

NAN = ErrorClass.NON_FINITE
QUEUED, RUNNING, SUCCEEDED, FAILED = 0, 2, 3, 4


def state(repository: Repository, render: int) -> int:
    return column(repository, "SELECT state FROM renders WHERE id = :id", id=render)[0]


def tries(repository: Repository, *renders: int) -> list[int]:
    return column(
        repository, "SELECT tries FROM renders WHERE id = ANY (:ids) ORDER BY id", ids=list(renders)
    )


def refunded(repository: Repository) -> int:
    return column(repository, "SELECT count(*) FROM attempts WHERE refunded")[0]


@pytest.mark.parametrize("second", [NAN, ErrorClass.MEMORY, ErrorClass.DEFECT])
def test_a_render_that_fails_on_two_devices_has_no_third_try(
    repository: Repository, second: ErrorClass
) -> None:
    one, other = Device(repository, "cuda:0"), Device(repository, "cuda:1")
    (render,) = submit(repository)
    one.fail(NAN, render)
    assert state(repository, render) == QUEUED
    other.fail(second, render)
    assert state(repository, render) == FAILED


@pytest.mark.parametrize("second", [ErrorClass.MODEL, ErrorClass.LATENTS, ErrorClass.TRANSIENT])
def test_failures_that_tell_nothing_of_the_render_do_not_end_it_so_soon(
    repository: Repository, second: ErrorClass
) -> None:
    one, other = Device(repository, "cuda:0"), Device(repository, "cuda:1")
    (render,) = submit(repository)
    one.fail(NAN, render)
    other.fail(second, render)
    assert state(repository, render) == QUEUED


def test_the_same_name_on_another_host_is_another_device(repository: Repository) -> None:
    one, other = Device(repository, "cuda:0"), Device(repository, "cuda:0", host="i")
    (render,) = submit(repository)
    one.fail(NAN, render)
    other.fail(NAN, render)
    assert state(repository, render) == FAILED


def test_one_device_alone_tries_three_times(repository: Repository) -> None:
    only = Device(repository)
    (render,) = submit(repository)
    for before in range(3):
        assert tries(repository, render) == [before]
        only.fail(NAN, render)
    assert state(repository, render) == FAILED


def test_deaths_alone_end_a_render_at_the_third_and_not_by_two_devices(repository: Repository) -> None:
    """A hand, or an out-of-memory killer, can end two processes in which it ran alone."""
    one, other = Device(repository, "cuda:0"), Device(repository, "cuda:1")
    (render,) = submit(repository)
    one.die(render)
    assert tries(repository, render) == [0], "nobody knew that it ran alone"
    one.die(render)
    other.die(render)
    assert tries(repository, render) == [2]
    one.die(render)
    assert state(repository, render) == FAILED


def test_a_dead_device_charges_only_what_ran_alone_on_it(repository: Repository) -> None:
    device = Device(repository)
    renders = submit(repository, 4)
    device.fail(ErrorClass.DEVICE, *renders)
    assert tries(repository, *renders) == [0] * 4
    assert column(repository, "SELECT count(*) FROM renders WHERE suspect") == [4]
    device.fail(ErrorClass.DEVICE, renders[0])
    assert tries(repository, *renders) == [1, 0, 0, 0]


@pytest.mark.parametrize("error_class", sorted(BLAMES_DEVICE - {ErrorClass.DEVICE, ErrorClass.POISON}))
def test_three_renders_of_ten_send_a_device_to_rest_and_are_refunded(
    repository: Repository, error_class: ErrorClass
) -> None:
    bad, _ = Device(repository, "cuda:0"), Device(repository, "cuda:1")
    renders = submit(repository, 12)
    bad.succeed(*renders[:7])
    running = bad.claim(*renders[10:])
    for render in renders[7:9]:
        bad.fail(error_class, render)
    assert bad.end_reason() is None
    assert tries(repository, *renders[7:10]) == [1, 1, 0]
    bad.fail(error_class, renders[9])
    assert bad.end_reason() == "quarantined"
    assert tries(repository, *renders[7:10]) == [0, 0, 0]
    assert refunded(repository) == 3
    assert not repository.renew(bad.worker, lease_s=20)
    # What it still ran goes back, and costs its renders neither a try nor a start.
    assert [state(repository, item.render_id) for item in running] == [QUEUED, QUEUED]
    back = "SELECT tries + starts FROM renders WHERE id = ANY (:ids) AND NOT suspect"
    assert column(repository, back, ids=renders[10:]) == [0, 0]
    assert column(repository, "SELECT queued FROM jobs") == [5]
    assert column(repository, "SELECT remaining FROM jobs") == [5]


def test_a_device_that_dies_under_one_render_after_the_other_is_sent_to_rest(repository: Repository) -> None:
    bad = Device(repository)
    renders = submit(repository, 3)
    bad.die(*renders)
    for render in renders:
        bad.die(render)
    assert bad.end_reason() == "quarantined"
    assert tries(repository, *renders) == [0, 0, 0]


def test_a_device_that_breaks_under_three_sets_of_renders_is_sent_to_rest(repository: Repository) -> None:
    """Though nobody was charged: nothing ran alone."""
    bad, _ = Device(repository, "cuda:0"), Device(repository, "cuda:1")
    renders = submit(repository, 12)
    for first in (0, 4, 8):
        assert bad.end_reason() is None
        bad.fail(ErrorClass.DEVICE, *renders[first : first + 4])
        if first < 8:
            repository.end_worker(bad.worker, "exited with 3")
            bad.start()
    assert bad.end_reason() == "quarantined"
    assert tries(repository, *renders) == [0] * 12


def test_one_render_that_breaks_a_device_again_and_again_is_at_fault_itself(repository: Repository) -> None:
    device = Device(repository)
    renders = submit(repository, 4)
    device.fail(ErrorClass.DEVICE, *renders)
    for _ in range(3):
        repository.end_worker(device.worker, "exited with 3")
        device.start()
        device.fail(ErrorClass.DEVICE, renders[2])
    assert state(repository, renders[2]) == FAILED
    assert device.end_reason() is None


def test_many_failures_of_two_renders_blame_no_device(repository: Repository) -> None:
    device = Device(repository)
    renders = submit(repository, 2)
    for _ in range(3):
        for render in renders:
            device.fail(NAN, render)
    assert device.end_reason() is None
    assert [state(repository, render) for render in renders] == [FAILED, FAILED]


@pytest.mark.parametrize(
    "error_class",
    [ErrorClass.USER, ErrorClass.INPUT, ErrorClass.TRANSIENT, ErrorClass.LATENTS, ErrorClass.MODEL],
)
def test_what_is_not_the_devices_fault_blames_no_device(
    repository: Repository, error_class: ErrorClass
) -> None:
    device = Device(repository)
    for render in submit(repository, 5):
        device.fail(error_class, render)
    assert device.end_reason() is None


def test_poison_that_failed_elsewhere_before_blames_no_device(repository: Repository) -> None:
    """Three users with bad prompts must not put a healthy device to rest."""
    first, second = Device(repository, "cuda:0"), Device(repository, "cuda:1")
    good = submit(repository, 8)
    bad = [submit(repository)[0] for _ in range(4)]
    for index, render in enumerate(bad):
        first.fail(NAN, render)
        second.succeed(good[2 * index])
        second.fail(NAN, render)
        first.succeed(good[2 * index + 1])
    assert (first.end_reason(), second.end_reason()) == (None, None)
    assert [state(repository, render) for render in bad] == [FAILED] * 4
    assert refunded(repository) == 0


def test_failures_further_back_than_ten_are_forgotten(repository: Repository) -> None:
    device = Device(repository)
    renders = submit(repository, blaming.LATEST + 2)
    for render in renders[:2]:
        device.fail(NAN, render)
    for render in renders[2:-1]:
        device.succeed(render)
    device.fail(NAN, renders[-1])
    assert device.end_reason() is None


def test_evidence_outlives_an_incarnation_but_not_a_quarantine(repository: Repository) -> None:
    device = Device(repository)
    renders = submit(repository, 5)
    device.fail(NAN, renders[0])
    device.fail(NAN, renders[1])
    repository.end_worker(device.worker, "drained")
    device.start()
    device.fail(NAN, renders[2])
    assert device.end_reason() == "quarantined"
    device.start()
    device.fail(NAN, renders[3])
    device.fail(NAN, renders[4])
    assert device.end_reason() is None
    assert tries(repository, *renders) == [0, 0, 0, 1, 1]


def test_a_render_is_held_against_a_device_once(repository: Repository) -> None:
    """Three bad prompts on the only device of a farm cost it one rest, and then their own tries."""
    device = Device(repository)
    renders = submit(repository, 3)
    for render in renders:
        device.fail(NAN, render)
    assert device.end_reason() == "quarantined"
    device.start()
    for _ in range(3):
        for render in renders:
            device.fail(NAN, render)
    assert device.end_reason() is None
    assert [state(repository, render) for render in renders] == [FAILED] * 3


def test_final_renders_stay_as_they_are(repository: Repository) -> None:
    device = Device(repository)
    renders = submit(repository, 3)
    for _ in range(3):
        device.fail(NAN, renders[0])
    device.fail(NAN, renders[1])
    device.fail(NAN, renders[2])
    assert device.end_reason() == "quarantined"
    assert state(repository, renders[0]) == FAILED
    assert tries(repository, *renders) == [3, 0, 0]


def test_the_same_failures_do_not_blame_two_processes_on_one_device(repository: Repository) -> None:
    one, two = Device(repository), Device(repository)
    renders = submit(repository, 4)
    for render in renders[:3]:
        one.fail(NAN, render)
    assert (one.end_reason(), two.end_reason()) == ("quarantined", None)
    two.fail(NAN, renders[3])
    assert two.end_reason() is None


def test_refunds_reach_the_stage_in_which_they_were_charged(repository: Repository) -> None:
    device = Device(repository)
    renders = submit(repository, 3)
    device.fail(NAN, renders[0])
    run(repository, "UPDATE renders SET stage = 1, tries = 2 WHERE id = :id", id=renders[0])
    device.fail(NAN, renders[1])
    device.fail(NAN, renders[2])
    assert tries(repository, *renders) == [2, 0, 0]
