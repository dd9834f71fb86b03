"""A running farm loses images of a finished job, and makes them again."""

from __future__ import annotations

import os
import subprocess
import sys
from typing import TYPE_CHECKING

from latentfarm.spec import RefinerSpec
from latentfarm.storage import S3Store
from tests.acceptance.farm import ROOT
from tests.integration.verifying import own_bucket

if TYPE_CHECKING:
    from uuid import UUID

    from latentfarm.settings import Settings
    from tests.acceptance.farm import Farm


def verify(farm: Farm, *words: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "latentfarm.cli.app", "verify", *words],
        cwd=ROOT,
        env={**os.environ, **farm.environment},
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )


def files(farm: Farm, store: S3Store, job_id: UUID) -> dict[int, tuple[str, bytes]]:
    """Key and bytes of each image by index."""
    return {
        image.index: (image.ref.key, store.get(image.ref))
        for image in farm.repository.images(job_id)
        if image.ref is not None
    }


def test_lost_images_of_a_finished_job_come_back_the_same(farm: Farm, settings: Settings) -> None:
    mine = own_bucket(settings)
    store = S3Store.from_settings(mine)
    farm.environment["LATENTFARM_S3_BUCKET"] = mine.s3_bucket
    for name in ("ACCESS_KEY_ID", "SECRET_ACCESS_KEY"):
        del farm.environment[f"LATENTFARM_WORKER_S3_{name}"]  # good for the farm's usual bucket alone
    farm.scheduler()
    farm.worker()
    job_id = farm.submit(8, refiner=RefinerSpec(), reproducible=True)
    farm.wait_done()
    before = files(farm, store, job_id)
    assert len(before) == 8
    store.delete([before[index][0] for index in (1, 4, 6)])
    # Of one of them the latents are lost, too: it begins with the base stage.
    render = before[4][0].split("/")[2]
    store.delete(list(store.list_keys(f"v1/latents/{render}/")))
    ran = verify(farm, str(job_id), "--repair")
    assert ran.returncode == 1, ran.stderr
    assert ran.stdout.count("will be rendered again") == 3
    farm.wait_done()
    ran = verify(farm, str(job_id))
    assert (ran.returncode, ran.stderr) == (0, ""), ran.stdout
    assert ran.stdout.endswith(": sound\n")
    after = files(farm, store, job_id)
    # The file says how it was made and not when, so not the pixels alone are the same.
    assert {index: data for index, (_, data) in after.items()} == {
        index: data for index, (_, data) in before.items()
    }
    assert [index for index in range(8) if after[index][0] != before[index][0]] == [1, 4, 6]
    assert farm.count("SELECT count(*) FROM attempts WHERE outcome = 'handed_over'") == 9
    assert farm.count("SELECT count(*) FROM jobs WHERE state = 'succeeded' AND remaining = 0") == 1
