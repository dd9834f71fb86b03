"""A farm for stock clients: its start takes longer than most of what they ask of it, so all of them share one."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tests.acceptance.farm import Farm, standing

if TYPE_CHECKING:
    from collections.abc import Iterator

    from latentfarm.embedded.stack import Stack


@pytest.fixture(scope="package")
def farm(stack: Stack, template: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Farm]:
    """One that renders with the real engine and the tiny model, and packs."""
    with standing(stack, template, tmp_path_factory.mktemp("farm")) as farm:
        farm.environment["LATENTFARM_ENGINE"] = "worker.assembly:load"
        farm.api()
        farm.scheduler()
        farm.worker()
        farm.worker("seal")
        farm.wait_ready(2, 300)
        yield farm
