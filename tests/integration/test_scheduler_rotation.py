"""Partitions of the outbox: there before they are needed, gone when they are old."""

from __future__ import annotations

from datetime import UTC, date, datetime, timedelta
from typing import TYPE_CHECKING, Any

from sqlalchemy import text

from latentfarm.repository.sweeping import rotate_outbox
from tests.integration.test_repository import one

if TYPE_CHECKING:
    from latentfarm.repository.facade import Repository


def do(repository: Repository, sql: str, **values: Any) -> None:
    repository.transact(lambda c: c.execute(text(sql), values))


def _partitions(repository: Repository) -> set[str]:
    sql = "SELECT array_agg(inhrelid::regclass::text) FROM pg_inherits WHERE inhparent = 'outbox'::regclass"
    return set(one(repository, sql))  # type: ignore[call-overload, no-any-return]


def _day(ahead: int) -> date:
    return datetime.now(UTC).date() + timedelta(days=ahead)


def _event(repository: Repository, day: date) -> None:
    do(
        repository,
        "INSERT INTO outbox (created_at, job_id, type, data)"
        " VALUES (:at, gen_random_uuid(), 'job.succeeded', '{}')",
        at=datetime.combine(day, datetime.min.time(), UTC),
    )


def test_the_outbox_has_partitions_ahead_and_none_that_are_too_old(repository: Repository) -> None:
    for ahead in (-30, -8, -7):
        do(
            repository,
            f"CREATE TABLE outbox_{_day(ahead):%Y%m%d} PARTITION OF outbox"
            f" FOR VALUES FROM ('{_day(ahead)}T00:00:00Z') TO ('{_day(ahead + 1)}T00:00:00Z')",
        )
    for _ in range(2):
        repository.transact(lambda c: rotate_outbox(c, keep_days=7))
    named = {f"outbox_{_day(ahead):%Y%m%d}" for ahead in (-7, 0, 1, 2)}
    assert _partitions(repository) == named | {"outbox_default"}


def test_events_from_before_the_first_rotation_are_in_no_way(repository: Repository) -> None:
    """Until a scheduler runs they lie in the default partition, which then refuses theirs."""
    for ahead in (-8, -7, 0):
        _event(repository, _day(ahead))
    for _ in range(2):
        repository.transact(lambda c: rotate_outbox(c, keep_days=7))
    assert _partitions(repository) >= {f"outbox_{_day(ahead):%Y%m%d}" for ahead in (1, 2)}
    assert one(repository, "SELECT count(*) FROM outbox") == 2
    _event(repository, _day(1))
    assert one(repository, f"SELECT count(*) FROM outbox_{_day(1):%Y%m%d}") == 1
