"""A worker that may open no more files: its renders go back, and nobody is charged."""

from __future__ import annotations

import resource
from typing import TYPE_CHECKING

import psutil

from latentfarm.spec import RefinerSpec
from tests.acceptance.farm import child_of

if TYPE_CHECKING:
    from tests.acceptance.farm import Farm


def test_running_out_of_files_costs_time_and_no_try(farm: Farm) -> None:
    farm.scheduler()
    worker = farm.worker()
    farm.wait_ready(1)
    child = psutil.Process(child_of(worker))
    _, hard = child.rlimit(resource.RLIMIT_NOFILE)
    # Whatever is open stays so. The store has not been asked for anything yet, so it has no connection.
    child.rlimit(resource.RLIMIT_NOFILE, (3, hard))
    farm.submit(6, send=False, refiner=RefinerSpec())
    # What cannot be packed or put is tried again. Celery gives up where it can open nothing; the child then
    # drains, and the next one has files of its own.
    farm.wait_done(90)
    farm.assert_sound(6)
    assert farm.count("SELECT sum(tries) FROM renders") == 0
    assert farm.count("SELECT count(*) FROM attempts WHERE charged") == 0
    assert farm.count("SELECT count(*) FROM attempts WHERE error_class <> 'transient'") == 0
