"""Workers of a real farm: they ask the database for what their role may do and for no more, and leave models alone."""

from __future__ import annotations

import shutil
from typing import TYPE_CHECKING

import pytest

from latentfarm.repository.rights import EVERY, RIGHTS, ROLE
from latentfarm.spec import RefinerSpec
from tests.acceptance.farm import ROOT, until
from tests.integration.seeding import Ground
from tests.parse_trees import asked

if TYPE_CHECKING:
    from pathlib import Path

    from latentfarm.embedded.stack import Stack
    from latentfarm.repository.facade import Repository
    from latentfarm.settings import Settings
    from latentfarm.storage import S3Store
    from tests.acceptance.farm import Farm

#: What nothing in this run needs, by what does; see `test_worker_rights` for these.
ELSEWHERE = {
    "a picture to start from": {
        ("SELECT", "inputs", name) for name in ("sha256", "size", "key", "stored_at")
    },
    "a seed that is drawn anew": {
        *(("INSERT", "redraws", name) for name in ("render_id", "number", "seed", "fence", "reasons")),
        ("SELECT", "shards", "redrawn"),
        ("UPDATE", "shards", "redrawn"),
        ("UPDATE", "renders", "seed"),
    },
    "models that are assigned": {
        *(("SELECT", "jobs", name) for name in ("model", "waits", "paused_at")),
        *(("SELECT", "workers", name) for name in ("lease_until", "pid", "ready_at")),
    },
    "a device that fails": {
        ("UPDATE", "attempts", "refunded"),
        ("UPDATE", "attempts", "refused_at"),
        ("SELECT", "workers", "ready"),
    },
}

#: What `heard` looks at. It runs as its owner, and the log tells of it as of all else.
AS_OWNER = {
    *(("SELECT", "jobs", name) for name in ("webhook", "tenant")),
    *(("SELECT", "webhooks", name) for name in ("disabled_at", "events", "tenant", "url")),
}


def tree(folder: Path) -> dict[str, tuple[int, int]]:
    """Size and time of all that is in a folder, folders too."""
    return {
        str(path.relative_to(folder)): (path.stat().st_size, path.stat().st_mtime_ns)
        for path in (folder, *folder.rglob("*"))
    }


@pytest.mark.long
def test_rights_are_what_workers_ask_for_and_models_stay_as_they_are(
    farm: Farm,
    repository: Repository,
    store: S3Store,
    stack: Stack,
    settings: Settings,
    tmp_path: Path,
) -> None:
    models = tmp_path / "models"
    shutil.copytree(ROOT / "models", models)
    before = tree(models)
    farm.environment |= {
        "LATENTFARM_ENGINE": "worker.assembly:load",
        "LATENTFARM_MODELS_FILE": str(models / "models.toml"),
        "LATENTFARM_CHECKPOINT_S": "0.01",
    }
    url = settings.database_url.replace("+psycopg", "")
    with asked(stack, url, ROLE) as needs:
        farm.scheduler()
        worker = farm.worker("base,refine")
        farm.worker("seal")
        farm.submit(2, send=False, refiner=RefinerSpec(), num_inference_steps=10)
        Ground(repository, store).create(4)
        farm.wait_done(240)
        # Images go out of the bucket once their shard is committed, by a thread that nobody waits for.
        going = "SELECT count(*) FROM objects WHERE state = 'going'"
        until("images of the shard are gone", lambda: farm.count(going) == 0, 60)
        farm.submit(1, num_inference_steps=50)
        worker.terminate()
        assert worker.wait(60) == 0
    assert farm.count("SELECT count(*) FROM jobs WHERE state = 'failed'") == 0
    assert tree(models) == before
    whole = {table for table, right in RIGHTS.items() if right.read == EVERY}
    granted = {
        (privilege, table, column) for table, right in RIGHTS.items() for privilege, column in right.columns()
    }
    specific = {need for need in needs if need[2] and not (need[0] == "SELECT" and need[1] in whole)}
    assert specific - granted == AS_OWNER
    # What is locked or counted names no column: one that it has will do. Rows go by a function that runs as its owner.
    tables = {(privilege, table) for privilege, table, _ in granted}
    rest = {(privilege, table) for privilege, table, column in needs if not column} - tables
    assert rest == {("DELETE", "objects")}
    spare = {right for right in granted - specific if right[2] != EVERY}
    assert spare == set().union(*ELSEWHERE.values())
