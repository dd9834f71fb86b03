"""The effects that the judge sees in stock pipelines, in pictures that went API, queues, S3 and back."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from latentfarm import Client

if TYPE_CHECKING:
    from tests.acceptance.farm import Farm

SEEDS = range(100, 150)


@pytest.fixture
def studio(farm: Farm) -> Farm:
    """A farm with the real engine and a worker for each queue."""
    farm.environment["LATENTFARM_ENGINE"] = "worker.assembly:load"
    farm.api()
    farm.scheduler()
    farm.worker("base")
    farm.worker("refine")
    return farm


@pytest.mark.long
def test_every_effect_holds_through_both_queues(studio: Farm) -> None:
    """One farm for all of them: starting it costs more than an effect."""
    # Here and not above: torch comes with them, and whoever only collects tests has no use for it.
    from benchmarks.equality.painter import FarmPainter
    from training.verdicts import EFFECTS, measured

    with Client(studio.url) as client:
        bounds = {name: measured(FarmPainter(client), name, SEEDS)[1] for name in EFFECTS}
    missed = {
        (name, what): bound
        for name, found in bounds.items()
        for what, bound in found.items()
        if not bound["met"]
    }
    assert missed == {}
