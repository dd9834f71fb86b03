"""Asking a real API for datasets, for tests."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from latentfarm.dataset_views import DatasetView
from latentfarm.repository import phases
from latentfarm.views import ProblemView

if TYPE_CHECKING:
    import httpx

    from tests.integration.ground import Ground

SMALL: dict[str, Any] = {"model": "tiny", "num_inference_steps": 4, "width": 64, "height": 64}
BIRDS: dict[str, Any] = {
    "name": "birds",
    "manifest": {"prompts": ["a red bird", "a blue bird", "a grey bird", "a green bird"]},
    "defaults": SMALL,
    "shard_samples": 3,
    "seed": 7,
}


def create(http: httpx.Client, status: int = 201, **fields: Any) -> DatasetView:
    answer = http.post("/v1/datasets", json=BIRDS | fields)
    assert answer.status_code == status, answer.text
    return DatasetView.model_validate_json(answer.content)


def refused(http: httpx.Client, status: int = 422, **fields: Any) -> ProblemView:
    answer = http.post("/v1/datasets", json=BIRDS | fields)
    assert answer.status_code == status, answer.text
    return ProblemView.model_validate_json(answer.content)


def show(http: httpx.Client) -> DatasetView:
    return DatasetView.model_validate_json(http.get("/v1/datasets/birds").content)


def tables(ground: Ground) -> list[int]:
    names = ("datasets", "jobs", "renders", "shards", "specs", "dataset_parts")
    return [ground.rows(f"SELECT count(*) FROM {name}")[0][0] for name in names]


def check_manifests(ground: Ground) -> None:
    for dataset in ground.repository.transact(lambda c: phases.busy(c, "checking")):
        ground.arrivals.check(dataset)
