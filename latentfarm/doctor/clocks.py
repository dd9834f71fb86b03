"""Whether the clocks agree: signed links and certificates fail when they do not."""

from __future__ import annotations

from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from typing import TYPE_CHECKING

from sqlalchemy import text

from latentfarm.doctor.finding import Finding, look

if TYPE_CHECKING:
    from sqlalchemy import Engine

    from latentfarm.storage import S3Store

MOST_S = 5.0
"""Seconds that two clocks may differ. Leases are measured by the database alone and do not care."""
_ADVICE = "let both machines take their time from NTP"


def check_clocks(engine: Engine, store: S3Store) -> list[Finding]:
    """The database's and the object store's clock against this machine's."""
    return [
        look("clock of the database", lambda: _compare(_of_database(engine)), _ADVICE),
        look("clock of the object store", lambda: _compare(_of_store(store)), _ADVICE),
    ]


def _compare(other: datetime) -> str:
    off_s = abs((other - datetime.now(UTC)).total_seconds())
    if off_s > MOST_S:
        raise RuntimeError(f"differs by {off_s:.1f} s")
    return f"within {MOST_S:g} s of this machine's"


def _of_database(engine: Engine) -> datetime:
    with engine.connect() as connection:
        found: datetime = connection.execute(text("SELECT clock_timestamp()")).scalar_one()
    return found


def _of_store(store: S3Store) -> datetime:
    answer = store.client.head_bucket(Bucket=store.bucket)
    return parsedate_to_datetime(answer["ResponseMetadata"]["HTTPHeaders"]["date"])
