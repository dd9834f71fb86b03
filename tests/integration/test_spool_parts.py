"""Parts of the spool, whatever their size, become renders."""

from __future__ import annotations

import io
from typing import TYPE_CHECKING

import pyarrow.parquet as pq
import pytest

from latentfarm.repository import phases
from tests.integration.ground import Ground
from tests.integration.packers import Packers

if TYPE_CHECKING:
    from latentfarm.repository.facade import Repository
    from latentfarm.storage import S3Store


@pytest.fixture
def ground(repository: Repository, store: S3Store) -> Ground:
    return Ground(repository, store)


def test_parts_of_any_size_come_in_and_may_be_cut_otherwise_later(
    ground: Ground, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A part holds fewer samples where prompts are long, and an upgrade may change where it ends."""

    def parts() -> list[tuple[int, ...]]:
        return [
            tuple(row)
            for row in ground.rows("SELECT number, first, count FROM dataset_parts ORDER BY number")
        ]

    monkeypatch.setattr("latentfarm.manifests.spool.PART_BYTES", 1)
    prompts = [f"{number} " * 99 for number in range(8)]
    ground.create(prompts[:4])
    assert parts() == [(0, 0, 1), (1, 1, 1), (2, 2, 1), (3, 3, 1)]
    ground.come_in()
    monkeypatch.setattr("latentfarm.manifests.spool.PART_BYTES", 10**6)
    monkeypatch.setattr("latentfarm.manifests.spool.PART_SAMPLES", 3)
    ground.create(prompts)
    assert parts() == [(0, 0, 3), (1, 3, 3), (2, 6, 2)]
    # What is too large for one transaction comes in by several.
    monkeypatch.setattr("latentfarm.manifests.parts.PART_BYTES", 1)
    [dataset] = ground.repository.transact(lambda c: phases.busy(c, "inserting"))
    assert ground.arrivals.insert(dataset)
    assert ground.dataset().inserted == 5
    ground.come_in()
    assert [row.ordinal for row in ground.rows("SELECT ordinal FROM renders ORDER BY ordinal")] == list(
        range(8)
    )


def test_a_shard_is_made_of_parts_of_any_size(
    repository: Repository, store: S3Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    ground = Packers(repository, store)
    monkeypatch.setattr("latentfarm.manifests.spool.PART_SAMPLES", 3)
    monkeypatch.setattr("latentfarm.manifests.parts.PART_BYTES", 1)
    ground.create(12)
    ground.render(failed=[3])
    assert ground.rows("SELECT count(*) FROM dataset_parts") == [(4,)]
    first, *rest = ground.seal_all()
    assert [one.images for one in rest] == [2, 0]
    table = pq.read_table(io.BytesIO(ground.read(first.files[1]))).to_pylist()
    assert [row["id"] for row in table] == [f"id/{number}" for number in range(10) if number != 3]
