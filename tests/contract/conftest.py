"""A farm for stock clients, and how their pictures are judged."""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING

import pytest

from latentfarm.database import connect
from latentfarm.repository.facade import Repository
from tests.acceptance.farm import Farm
from tests.own_farm import own_environment

if TYPE_CHECKING:
    from collections.abc import Iterator

    from latentfarm.embedded.stack import Stack


@pytest.fixture(scope="module")
def stock_farm(stack: Stack, template: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Farm]:
    """A farm with the real engine and the tiny model; one for all tests of a file, since its start takes the longest."""
    with own_environment(stack, template) as environment:
        engine = connect(environment["LATENTFARM_DATABASE_URL"], pool=4, application="tests")
        with (
            contextlib.ExitStack() as ended,
            Farm(environment, Repository(engine), tmp_path_factory.mktemp("farm")) as farm,
        ):
            ended.callback(engine.dispose)
            farm.environment["LATENTFARM_ENGINE"] = "worker.assembly:load"
            farm.api()
            farm.scheduler()
            farm.worker()
            farm.wait_ready(1)
            yield farm
