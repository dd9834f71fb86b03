"""A dataset in a farm of real processes: rendered, packed, and cleared away, whatever dies."""

from __future__ import annotations

import os
import signal
from typing import TYPE_CHECKING

import psutil
import pytest

from tests.acceptance.farm import child_of, until
from tests.integration.seeding import Ground

if TYPE_CHECKING:
    from latentfarm.repository.facade import Repository
    from latentfarm.storage import S3Store
    from tests.acceptance.farm import Farm

pytestmark = pytest.mark.clock

SEALED = "SELECT count(*) FROM shards WHERE state = 'sealed' AND number >= 0"


def test_a_dataset_is_packed_though_its_packer_is_killed(
    farm: Farm, repository: Repository, store: S3Store
) -> None:
    before = set(store.list_keys("v1/images/"))  # of other tests, whose renders have the same ids
    dataset = Ground(repository, store).create(200)
    farm.scheduler()
    farm.worker("base")
    packer = farm.worker("seal")
    for sealed in (1, 6):
        until("shards are packed", lambda: farm.count(SEALED) >= sealed)  # noqa: B023
        os.kill(child_of(packer), signal.SIGKILL)
        until("another child is there", lambda: _children(packer.pid))
    farm.wait_done(90)
    assert farm.count("SELECT count(*) FROM jobs WHERE state = 'succeeded'") == 1
    assert farm.count(SEALED) == 20
    assert farm.count("SELECT sum(images) FROM shards") == 200
    assert farm.count("SELECT count(*) FROM workers WHERE 2 = ANY (stages)") == 3
    until("the single images are gone", lambda: farm.count("SELECT count(*) FROM objects") == 0)
    assert set(store.list_keys("v1/images/")) <= before
    files = {path for (path,) in Ground(repository, store).rows(_FILES)}
    assert {key.rpartition(f"{dataset}/")[2] for key in store.list_keys(f"v1/datasets/{dataset}/")} >= files
    assert len(files) == 60


def test_a_packer_has_loaded_no_torch_and_gives_back_what_it_holds(
    farm: Farm, repository: Repository, store: S3Store
) -> None:
    ground = Ground(repository, store)
    packer = farm.worker("seal")
    farm.wait_ready(1)
    child = psutil.Process(child_of(packer))
    assert not [one.path for one in child.memory_maps() if "libtorch" in one.path]
    assert child.memory_info().rss < 500e6
    assert ground.rows("SELECT stages, assigned_models, device FROM workers") == [([2], [""], "none")]
    packer.send_signal(signal.SIGTERM)
    assert packer.wait(20) == 0
    assert ground.rows("SELECT end_reason FROM workers") == [("drained",)]


_FILES = "SELECT f ->> 'path' FROM shards s, jsonb_array_elements(s.files) AS f WHERE s.number >= 0"


def _children(pid: int) -> list[psutil.Process]:
    found = psutil.Process(pid).children()
    return [one for one in found if one.status() != psutil.STATUS_ZOMBIE]
