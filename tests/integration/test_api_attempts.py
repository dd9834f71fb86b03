"""What users see of the claims of an image."""

from __future__ import annotations

import os
import subprocess
import sys
from typing import TYPE_CHECKING

import httpx
import pytest

from latentfarm import Client
from latentfarm.errors import ErrorClass, NotFound
from latentfarm.ids import new_id
from latentfarm.repository import failing, telling
from tests.integration.device import Device, column, job_of, submit
from tests.integration.serving import serve

if TYPE_CHECKING:
    from collections.abc import Iterator

    from latentfarm.repository.facade import Repository
    from latentfarm.settings import Settings


@pytest.fixture
def url(settings: Settings) -> Iterator[str]:
    with serve(settings) as url:
        yield url


def test_the_story_of_an_image_that_two_devices_failed(url: str, repository: Repository) -> None:
    one, other = (Device(repository, name, host="host-of-ours") for name in ("cuda:0", "cuda:1"))
    (render,) = submit(repository)
    (drained,) = one.claim(render)
    repository.transact(lambda c: failing.release(c, [(drained.render_id, drained.fence)]))
    one.fail(ErrorClass.NON_FINITE, render, message="latents are not finite")
    other.fail(ErrorClass.MEMORY, render, message="none left")
    job = job_of(repository, render)
    with Client(url) as client:
        told = client.attempts(job)
        (image,) = client.images(job)
    assert [(a.outcome, a.error_class, a.charged, a.refunded, a.steps) for a in told] == [
        ("released", None, False, False, None),
        ("failed", "non_finite", True, False, 2),
        ("failed", "memory", True, False, 2),
    ]
    assert [(a.worker, a.device, a.device_name, a.stage) for a in told[1:]] == [
        (one.worker, "cuda:0", "a device", "base"),
        (other.worker, "cuda:1", "a device", "base"),
    ]
    assert all(a.ended_at is not None and a.started_at <= a.ended_at for a in told)
    assert image.error == (
        f"failed on 2 workers: cuda:0 of worker {one.worker}: non_finite: latents are not finite;"
        f" cuda:1 of worker {other.worker}: memory: none left"
    )
    answer = httpx.get(f"{url}/v1/jobs/{job}/images/0/attempts").text
    assert "host-of-ours" not in answer + image.error
    shown = subprocess.run(
        [sys.executable, "-m", "latentfarm.cli.app", "jobs", "attempts", str(job), "--api", url],
        env=os.environ,
        capture_output=True,
        text=True,
        timeout=120,
        check=True,
    ).stdout.splitlines()
    assert len(shown) == 3
    assert f"cuda:1 of worker {other.worker}" in shown[2]
    assert shown[2].split("  ")[-2:] == ["charged", "memory: none left"]


def test_an_image_that_nobody_claimed_has_no_attempts_and_one_that_is_none_no_story(
    url: str, repository: Repository
) -> None:
    job = job_of(repository, submit(repository, 2)[0])
    with Client(url) as client:
        assert client.attempts(job, 1) == ()
        for missing in ((job, 2), (new_id(), 0)):
            with pytest.raises(NotFound):
                client.attempts(*missing)
    stranger = repository.transact(lambda c: telling.attempts(c, job, 0, tenant="somebody"))
    assert stranger is None


def test_the_last_twenty_are_shown_oldest_first(repository: Repository) -> None:
    device = Device(repository)
    (render,) = submit(repository)
    for _ in range(telling.SHOWN + 3):
        (claimed,) = device.claim(render)
        pair = (claimed.render_id, claimed.fence)
        repository.transact(lambda c, pair=pair: failing.release(c, [pair]))  # type: ignore[misc]
    told = repository.transact(lambda c: telling.attempts(c, job_of(repository, render), 0, tenant=""))
    assert told is not None
    starts = column(repository, "SELECT EXTRACT(EPOCH FROM started_at) FROM attempts ORDER BY fence")
    assert [one.started_at.timestamp() for one in told] == pytest.approx([float(at) for at in starts[3:]])
