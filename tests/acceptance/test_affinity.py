"""More models than workers may hold: real parents and children that change what they hold."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from latentfarm.ids import new_id
from latentfarm.registry import Registry, load_registry
from latentfarm.spec import RefinerSpec, RenderSpec
from latentfarm.states import Lane
from latentfarm.validation import complete
from tests.acceptance.farm import ROOT, until

if TYPE_CHECKING:
    from pathlib import Path
    from uuid import UUID

    from tests.acceptance.farm import Farm

pytestmark = pytest.mark.clock

MODELS = ("ash", "birch", "cedar", "douglas")
ENTRY = """
[models.{name}]
base = "{tiny}/base"
refiner = "{tiny}/refiner"
bucket = 8
native_size = [64, 64]
min_size = 64
"""
LOADS = "SELECT sum(cardinality(loaded_models)) FROM workers"
STRANGE = """
    SELECT count(*) FROM attempts a JOIN queues q ON q.id = a.queue_id JOIN workers w ON w.id = a.worker_id
    WHERE NOT q.model = ANY (w.loaded_models)
"""
BLAMED = "SELECT count(*) FROM attempts WHERE charged OR outcome <> ALL ('{succeeded,handed_over,released}')"


@pytest.fixture
def registry(farm: Farm, tmp_path: Path) -> Registry:
    """Four models under names of their own; workers hold one."""
    path = tmp_path / "models.toml"
    path.write_text("".join(ENTRY.format(name=name, tiny=ROOT / "models" / "tiny") for name in MODELS))
    farm.environment |= {
        "LATENTFARM_MODELS_FILE": str(path),
        "LATENTFARM_MODELS": "",
        "LATENTFARM_MODELS_HELD": "1",
    }
    return load_registry(path)


def submit(farm: Farm, registry: Registry, model: str, n: int, **fields: object) -> UUID:
    values = {"prompt": "a red circle", "lane": Lane.BULK, "num_inference_steps": 4, **fields}
    spec = RenderSpec(model=model, width=64, height=64, num_images=n, seed=1, **values)
    job_id = new_id()
    farm.repository.add_job(job_id, complete(spec, registry.get(model)), tenant="")
    return job_id


def test_a_thousand_renders_of_four_models_on_two_workers(farm: Farm, registry: Registry) -> None:
    """Served by at most 3 times the least possible loads, which are 4."""
    for number in range(200):
        refiner = RefinerSpec() if number % 10 == 0 else None
        submit(farm, registry, MODELS[number % 4], 5, refiner=refiner)
    farm.scheduler()
    farm.worker()
    farm.worker()
    farm.wait_done(300)
    farm.assert_sound(1000)
    assert farm.count("SELECT max(cardinality(loaded_models)) FROM workers") == 1
    assert 4 <= farm.count(LOADS) <= 3 * 4
    assert farm.count(STRANGE) == 0
    assert farm.count(BLAMED) == 0


def test_interactive_work_takes_a_worker_and_bulk_work_gets_it_back(farm: Farm, registry: Registry) -> None:
    bulk = submit(farm, registry, "ash", 300, prompt="sleep 200", num_inference_steps=50)
    farm.scheduler()
    farm.worker()
    claimed = "SELECT count(*) FROM renders WHERE owner IS NOT NULL AND state = 2 AND job_id = :job"
    until("bulk work has begun", lambda: farm.count(claimed, job=bulk), 120)
    quick = submit(farm, registry, "birch", 2, lane=Lane.INTERACTIVE)
    ended = "SELECT count(*) FROM jobs WHERE id = :job AND state = 'succeeded'"
    until("it was rendered", lambda: farm.count(ended, job=quick), 300)
    assert farm.count("SELECT queued FROM jobs WHERE id = :job", job=bulk) > 0
    until("bulk work goes on", lambda: farm.count(claimed, job=bulk), 120)
    assert farm.count(LOADS) == 3
    assert farm.count("SELECT count(*) FROM workers WHERE end_reason = 'reassigned'") == 2
    assert farm.count(STRANGE) == 0
    assert farm.count("SELECT count(*) FROM attempts WHERE outcome = 'released'") > 0
    assert farm.count(BLAMED) == 0
    farm.repository.mark_cancelled(bulk, tenant="")
    farm.repository.cancel_renders(bulk)
