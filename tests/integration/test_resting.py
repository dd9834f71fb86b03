"""A device that was quarantined: for how long it rests, who sees it, and what looking for it costs."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from sqlalchemy import text

from latentfarm.doctor.devices import check_devices
from latentfarm.errors import ErrorClass
from latentfarm.repository import blaming, resting, yielding
from tests.integration.device import Device, run, submit

if TYPE_CHECKING:
    from latentfarm.repository.facade import Repository


def rest(device: Device, first_s: float = 30.0) -> float:
    return device.repository.transact(lambda c: resting.rest(c, device.worker, first_s=first_s))


def quarantine(device: Device) -> None:
    for render in submit(device.repository, 3):
        device.fail(ErrorClass.NON_FINITE, render)
    assert device.end_reason() == "quarantined"


def test_a_device_rests_longer_while_quarantines_follow_each_other(repository: Repository) -> None:
    device, other = Device(repository, "cuda:0"), Device(repository, "cuda:1")
    quarantine(other)
    times = []
    for _ in range(7):
        quarantine(device)
        times.append(rest(device))
        # Renders that fail again and again elsewhere are not what this is about.
        device.start()
    assert times == [30, 60, 120, 240, 480, 900, 900]
    run(repository, "UPDATE workers SET ended_at = ended_at - interval '61 min' WHERE ended_at IS NOT NULL")
    quarantine(device)
    assert rest(device) == 30


@pytest.mark.parametrize("reason", ["drained", "exited with -9"])
def test_nobody_else_rests(repository: Repository, reason: str) -> None:
    device = Device(repository)
    quarantine(device)
    device.start()
    repository.end_worker(device.worker, reason)
    assert rest(device) == 0
    assert repository.transact(resting.resting) == []


def test_the_parents_own_end_does_not_hide_the_quarantine(repository: Repository) -> None:
    device = Device(repository)
    quarantine(device)
    assert repository.end_worker(device.worker, "lease lost") == []
    assert device.end_reason() == "quarantined"
    assert repository.worker_ends() == {"quarantined": 1}


def test_the_doctor_names_who_rests_until_it_is_back(repository: Repository) -> None:
    device = Device(repository, "cuda:0", host="node-7")
    quarantine(device)
    assert check_devices(repository.engine)[0].ok
    rest(device)
    (finding,) = check_devices(repository.engine)
    assert not finding.ok
    assert finding.detail.startswith("cuda:0 of node-7 for ")
    assert finding.detail.endswith(f" s (worker {device.worker})")
    device.start()
    assert check_devices(repository.engine)[0].detail == "none"


def test_what_is_asked_at_a_failure_reads_few_rows(repository: Repository) -> None:
    """However many attempts there are: by index from the device, and from the render."""
    device = Device(repository)
    many = """
        INSERT INTO attempts (render_id, fence, stage, queue_id, worker_id, waited_s, ended_at, outcome)
        SELECT n, 1, 0, 1, :worker + n % 50, 0, now(), 'succeeded' FROM generate_series(1, 20000) AS n
    """
    run(repository, many, worker=device.worker)
    run(repository, "ANALYZE attempts")
    asked = [
        (blaming._GUILTY, {"worker": device.worker, "lives": [device.worker], "blames": ["x"], "latest": 10}),
        (blaming._ELSEWHERE, {"ids": [1, 2], "telling": ["x"]}),
        (yielding._UNWELCOME, {"ids": [1, 2], "worker": device.worker, "longest_s": 20.0}),
    ]
    with repository.engine.begin() as connection:
        for statement, values in asked:
            plan = connection.execute(text(f"EXPLAIN {statement.text}"), values).scalars().all()
            assert not [line for line in plan if "Seq Scan on attempts" in line], plan
