"""A dataset whose images are made without an engine, but for those that a test wants to fail."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from sqlalchemy import text

from latentfarm.datasets import Datasets
from latentfarm.errors import ErrorClass
from latentfarm.ids import new_id
from latentfarm.manifests.request import DatasetRequest
from latentfarm.records import Done, Failure
from latentfarm.registry import load_registry
from latentfarm.repository import claiming, failing, finishing, phases
from latentfarm.states import Stage
from scheduler.arrivals import Arrivals
from tests.conftest import ROOT
from tests.pieces import image_file

if TYPE_CHECKING:
    from collections.abc import Callable, Collection
    from uuid import UUID

    from latentfarm.records import Claimed
    from latentfarm.repository.facade import Repository
    from latentfarm.storage import S3Store

SEED = 1000
NOTES = {"provenance": {"device": "cpu", "model_hash": "ab" * 32, "versions": "none"}, "warnings": []}


@dataclass(frozen=True, slots=True)
class Ground:
    """A farm without processes: the test does what each of them would."""

    repository: Repository
    store: S3Store

    def create(self, count: int, **fields: Any) -> UUID:
        """A dataset of so many images, all of them queued. The same name again continues it."""
        datasets = Datasets(
            self.repository, self.store, load_registry(ROOT / "models" / "models.toml"), new_id
        )
        dataset_id = datasets.create(self.request(count, **fields), tenant="")
        arrivals = Arrivals(self.repository, self.store, datasets)
        for dataset in self.repository.transact(lambda c: phases.busy(c, "inserting")):
            while arrivals.insert(dataset):
                pass
        return dataset_id

    def request(self, count: int, **fields: Any) -> DatasetRequest:
        """What asks for one."""
        asked: dict[str, Any] = {
            "name": "balls",
            "manifest": {"rows": [_row(number) for number in range(count)]},
            "defaults": {"model": "tiny", "num_inference_steps": 4, "width": 64, "height": 64},
            "shard_samples": 10,
            "seed": SEED,
        }
        return DatasetRequest.model_validate_json(json.dumps(asked | fields))

    def worker(self, stage: Stage) -> int:
        model = "" if stage is Stage.SEAL else "tiny"
        return self.repository.register(
            host="tests", pid=1, device="cpu", stages=[stage], models=[model], lease_s=600
        )

    def claim(self, worker: int, stage: Stage) -> list[Claimed]:
        """All that is queued or dispatched of a stage, without Redis; by ordinal."""
        for queue in self.repository.queues():
            if queue.stage is stage:
                self.repository.pick(queue, window_per_worker=100_000)
        dispatched = "SELECT id, fence FROM renders WHERE state = 1 AND stage = :stage"
        pairs = [(int(row[0]), int(row[1])) for row in self.rows(dispatched, stage=int(stage))]
        found = self.repository.transact(lambda c: claiming.claim(c, worker, pairs))
        return sorted(found, key=lambda one: abs(one.ordinal))

    def render(
        self, failed: Collection[int] = (), image: Callable[[int], bytes] = image_file
    ) -> dict[int, bytes]:
        """Makes all images that are queued; those in `failed` fail for good. The images by ordinal."""
        claimed = self.claim(self.worker(Stage.BASE), Stage.BASE)
        images = {one.ordinal: image(one.ordinal) for one in claimed if one.ordinal not in failed}
        done = [
            Done(
                one.render_id,
                one.fence,
                self.store.put(one.key, images[one.ordinal], "image/png"),
                4,
                NOTES,
            )
            for one in claimed
            if one.ordinal in images
        ]
        lost = [
            Failure(one.render_id, one.fence, ErrorClass.USER, "it asks for too much")
            for one in claimed
            if one.ordinal not in images
        ]
        self.repository.transact(lambda c: finishing.finish(c, done))
        self.repository.transact(lambda c: failing.fail(c, lost))
        return images

    def rows(self, sql: str, **values: object) -> list[tuple[Any, ...]]:
        return [tuple(row) for row in self.repository.transact(lambda c: c.execute(text(sql), values).all())]


def _row(number: int) -> dict[str, Any]:
    more = {"metadata": {"row": str(number)}} if number % 2 else {}
    return {"prompt": f"a red ball, {number}", "id": f"id/{number}"} | more
