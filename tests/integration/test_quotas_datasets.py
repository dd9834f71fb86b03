"""Quotas hold for datasets: they come in as there is room, day by day, and nobody passes a limit beside them."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from latentfarm.errors import OverQuota
from latentfarm.quotas import PIXEL_BYTES, TEXT_BYTES
from latentfarm.repository import quota_rows
from tests.integration.seeding import Ground
from tests.integration.test_dataset_room import come_in, state

if TYPE_CHECKING:
    from latentfarm.repository.facade import Repository
    from latentfarm.storage import S3Store

UNITS = 64 * 64 / 1e6 * 4
BYTES = 64 * 64 * PIXEL_BYTES + TEXT_BYTES


@pytest.fixture
def ground(repository: Repository, store: S3Store) -> Ground:
    return Ground(repository, store)


def limit(ground: Ground, **quotas: float | None) -> None:
    ground.repository.transact(lambda c: quota_rows.change(c, "", quotas))


def spent(ground: Ground) -> float:
    return float(ground.rows("SELECT cost_today FROM quotas")[0][0])


def test_a_dataset_larger_than_a_day_comes_in_day_by_day(ground: Ground) -> None:
    limit(ground, max_cost_per_day=20.5 * UNITS)
    ground.create(50)
    inserted, phase, held = state(ground)
    # A tenth is left to other jobs.
    assert (inserted, phase) == (18, "inserting")
    assert "of this day already" in held
    assert spent(ground) == pytest.approx(18 * UNITS, rel=0.01)
    come_in(ground)
    assert state(ground)[0] == 18
    for expected in (36, 50):
        ground.rows("UPDATE quotas SET day = day - 1 RETURNING day")
        come_in(ground)
        assert state(ground)[0] == expected
    assert state(ground)[1:] == ("inserted", "")


def test_what_is_in_flight_of_a_dataset_is_what_is_not_done(ground: Ground) -> None:
    limit(ground, max_cost_in_flight=20.5 * UNITS)
    ground.create(50)
    assert state(ground)[0] == 18
    ground.render()
    come_in(ground)
    assert state(ground)[0] == 36
    assert len(ground.rows("SELECT FROM renders WHERE state = 0 AND stage = 0")) == 18
    ground.render(failed=range(18, 28))
    come_in(ground)
    assert state(ground) == (50, "inserted", "")


def test_it_waits_while_too_much_is_kept(ground: Ground) -> None:
    limit(ground, max_storage_bytes=10 * BYTES + 5)
    ground.create(50)
    inserted, phase, held = state(ground)
    assert (inserted, phase) == (10, "inserting")
    assert "bytes are taken" in held
    limit(ground, max_storage_bytes=None)
    come_in(ground)
    assert state(ground) == (50, "inserted", "")


def test_a_new_one_is_refused_when_nothing_is_left(ground: Ground) -> None:
    ground.create(10)
    limit(ground, max_cost_per_day=0)
    with pytest.raises(OverQuota, match="of this day"):
        ground.create(5, name="other")
    assert ground.rows("SELECT name FROM datasets") == [("balls",)]
