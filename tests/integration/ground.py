"""A farm without processes for tests of datasets: the test does what each of them would."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

from sqlalchemy import text

from latentfarm.datasets import Datasets
from latentfarm.errors import ErrorClass
from latentfarm.ids import new_id
from latentfarm.manifests.request import DatasetRequest
from latentfarm.records import Done, Failure
from latentfarm.registry import load_registry
from latentfarm.repository import claiming, failing, finishing, phases, sealing, sets
from latentfarm.states import Stage
from scheduler.arrivals import Arrivals

if TYPE_CHECKING:
    from uuid import UUID

    from latentfarm.records import Claimed
    from latentfarm.repository.facade import Repository
    from latentfarm.storage import S3Store

MODELS = Path(__file__).parents[2] / "models" / "models.toml"


class Ground:
    """A farm without processes: the test does what each of them would."""

    def __init__(self, repository: Repository, store: S3Store) -> None:
        self.repository = repository
        self.store = store
        self.datasets = Datasets(repository, store, load_registry(MODELS), new_id)
        self.arrivals = Arrivals(repository, store, self.datasets)
        self.workers = {
            stage: repository.register(
                host="h", pid=1, device="cpu", stages=[stage], models=[model], lease_s=600
            )
            for stage, model in ((Stage.BASE, "tiny"), (Stage.SEAL, ""))
        }

    def create(self, prompts: list[str], **fields: Any) -> UUID:
        return self.datasets.create(self.request(prompts, **fields), tenant="")

    def request(self, prompts: list[str], **fields: Any) -> DatasetRequest:
        asked: dict[str, Any] = {
            "name": "birds",
            "manifest": {"prompts": prompts},
            "defaults": {"model": "tiny", "num_inference_steps": 4, "width": 64, "height": 64},
            "shard_samples": 3,
            "seed": 7,
        }
        return DatasetRequest.model_validate_json(json.dumps(asked | fields))

    def come_in(self) -> None:
        for dataset in self.repository.transact(lambda c: phases.busy(c, "inserting")):
            while self.arrivals.insert(dataset):
                pass

    def claim(self, stage: Stage, most: int = 1000) -> list[Claimed]:
        for queue in self.repository.queues():
            if queue.stage is stage:
                self.repository.pick(queue, window_per_worker=most)
        pairs = [
            tuple(row)
            for row in self.rows(f"SELECT id, fence FROM renders WHERE state = 1 AND stage = {int(stage)}")
        ]
        return self.repository.transact(lambda c: claiming.claim(c, self.workers[stage], pairs))

    def finish(self, claimed: list[Claimed]) -> None:
        done = [
            Done(one.render_id, one.fence, self.store.put(one.key, b"x", "image/png"), 4) for one in claimed
        ]
        self.repository.transact(lambda c: finishing.finish(c, done))

    def fail(self, claimed: list[Claimed]) -> None:
        told = [Failure(one.render_id, one.fence, ErrorClass.USER, "no such thing") for one in claimed]
        self.repository.transact(lambda c: failing.fail(c, told))

    def seal(self, *files: dict[str, Any]) -> list[sealing.Task]:
        return [self.seal_one(one, *files) for one in self.claim(Stage.SEAL)]

    def seal_one(self, one: Claimed, *files: dict[str, Any]) -> sealing.Task:
        task = self.repository.transact(lambda c: sealing.task_of(c, one.render_id, one.fence))
        assert task is not None
        members = self.repository.transact(lambda c: sealing.members_of(c, task, task.first + 1000))
        packed = sealing.Packed(
            render_id=one.render_id,
            fence=one.fence,
            shard_id=task.shard_id,
            dataset_id=task.dataset_id,
            number=task.number,
            images=sum(member.ref is not None for member in members),
            seconds=0.0,
            files=files,
        )
        assert self.repository.transact(lambda c: sealing.seal(c, [packed])) == {(one.render_id, one.fence)}
        return task

    def rows(self, sql: str) -> list[Any]:
        return list(self.repository.transact(lambda c: c.execute(text(sql)).all()))

    def dataset(self) -> sets.Dataset:
        found = self.repository.transact(lambda c: sets.find(c, "birds", tenant=""))
        assert found is not None
        return found

    def progress(self) -> sets.Progress:
        dataset = self.dataset()
        return self.repository.transact(lambda c: sets.progress(c, dataset.id))
