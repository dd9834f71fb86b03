"""Fixtures that need the tiny model's files; those of pictures on their way in; and an API with who works for it."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import httpx
import pytest
import torch

from latentfarm.ids import new_id
from latentfarm.inputs.offering import Uploads
from latentfarm.inputs.resolving import Resolver
from latentfarm.registry import ModelEntry, load_registry
from latentfarm.spec import RenderSpec
from latentfarm.states import Stage
from latentfarm.validation import complete
from tests.integration.https_server import HttpsServer, fetcher, serve_https
from tests.integration.serving import Puppet, serve
from worker.engine.model import LoadedModel, load_model

if TYPE_CHECKING:
    from collections.abc import Iterator

    from latentfarm.repository.facade import Repository
    from latentfarm.settings import Settings
    from latentfarm.storage import S3Store
    from tests.rig import MakeSpec


@pytest.fixture(scope="session")
def tiny_entry() -> ModelEntry:
    return load_registry(Path(__file__).parents[2] / "models" / "models.toml").get("tiny")


@pytest.fixture(scope="session")
def make(tiny_entry: ModelEntry) -> MakeSpec:
    """Specs that are complete and cheap unless the test says otherwise."""

    def make(**fields: object) -> RenderSpec:
        given = {"prompt": "a red circle", "num_inference_steps": 5, "width": 64, "height": 64, **fields}
        return complete(RenderSpec.model_validate(given), tiny_entry)

    return make


@pytest.fixture(scope="session")
def tiny(tiny_entry: ModelEntry) -> LoadedModel:
    """Base and refiner on the CPU in float32, on one thread: the thread count changes bits."""
    torch.set_num_threads(1)
    return load_model(tiny_entry, [Stage.BASE, Stage.REFINE])


@pytest.fixture
def https_server() -> Iterator[HttpsServer]:
    with serve_https() as server:
        yield server


@pytest.fixture
def resolver(repository: Repository, store: S3Store, https_server: HttpsServer) -> Resolver:
    return Resolver(repository, store, fetcher(https_server))


@pytest.fixture
def uploads(repository: Repository, store: S3Store) -> Uploads:
    return Uploads(repository, store, new_id, good_s=600)


@pytest.fixture
def http(settings: Settings) -> Iterator[httpx.Client]:
    """A client of a real API."""
    with serve(settings) as url, httpx.Client(base_url=url, timeout=120) as client:
        yield client


@pytest.fixture
def puppet(repository: Repository, store: S3Store) -> Puppet:
    """Who does what workers do."""
    return Puppet(repository, store)
