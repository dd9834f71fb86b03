from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tests.acceptance.farm import Farm

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from latentfarm.repository.facade import Repository


@pytest.fixture
def farm(environment: dict[str, str], repository: Repository, tmp_path: Path) -> Iterator[Farm]:
    with Farm(environment, repository, tmp_path) as farm:
        yield farm
