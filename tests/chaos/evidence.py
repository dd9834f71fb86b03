"""All that the invariants are judged by: SQL, the bucket, and what was written down outside of the system."""

from __future__ import annotations

import json
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from pydantic import SecretStr

from latentfarm.keys import PREFIX
from latentfarm.settings import Settings
from latentfarm.storage import S3Store
from tests.chaos.engine import read_steps

if TYPE_CHECKING:
    from pathlib import Path

    from tests.chaos.world import World

Row = dict[str, Any]

_TABLES = {
    "jobs": "SELECT * FROM jobs ORDER BY id",
    "renders": "SELECT * FROM renders ORDER BY id",
    "attempts": "SELECT * FROM attempts ORDER BY render_id, fence",
    "objects": "SELECT * FROM objects ORDER BY render_id, fence",
    "keys": "SELECT key, job_id FROM idempotency ORDER BY key",
    "moves": "SELECT * FROM chaos_renders ORDER BY id",
    "job_moves": "SELECT * FROM chaos_jobs ORDER BY id",
    "events": "SELECT id, job_id, type FROM outbox ORDER BY id",
    "workers": "SELECT id, host, pid, created_at, ended_at, end_reason FROM workers ORDER BY id",
    "specs": "SELECT id, body FROM specs",
}


@dataclass(slots=True)
class Evidence:
    """One run, at its end."""

    jobs: list[Row]
    renders: list[Row]
    attempts: list[Row]
    objects: list[Row]
    keys: list[Row]
    moves: list[Row]
    job_moves: list[Row]
    events: list[Row]
    workers: list[Row]
    specs: list[Row]
    truth: list[Row]
    listing: dict[str, int] = field(default_factory=dict)
    """Key -> size of everything in the bucket under the farm's prefix."""
    parts: int = 0
    """Multipart uploads that nobody ended."""
    data: dict[str, bytes] = field(default_factory=dict)
    """Key -> bytes of every visible object that is in the bucket."""
    steps: list[tuple[int, int, int, int]] = field(default_factory=list)

    def told(self, kind: str) -> list[Row]:
        """Lines of the truth log."""
        return [line for line in self.truth if line["kind"] == kind]

    def keep(self, path: Path) -> None:
        """Leaves the rows beside the logs, for whoever wonders about a run."""
        tables = {name: getattr(self, name) for name in (*_TABLES, "listing")}
        path.write_text(json.dumps(tables, default=str))

    def plans(self) -> dict[str, Row]:
        """Idempotency key -> what was submitted with it."""
        return {line["key"]: line for line in self.told("plan")}

    def plan_of_jobs(self) -> dict[str, Row]:
        """Job id -> what was submitted."""
        plans = self.plans()
        return {str(row["job_id"]): plans[row["key"]] for row in self.keys if row["key"] in plans}


def gather(world: World) -> Evidence:
    """Reads everything once."""
    tables: dict[str, Any] = {name: world.rows(sql) for name, sql in _TABLES.items()}
    found = Evidence(
        **tables,
        truth=world.truth.read("plan", "submit", "cancel", "fault", "fault_over", "start"),
        steps=read_steps(world.steps),
    )
    store = store_of(world)
    pages = store.client.get_paginator("list_objects_v2").paginate(Bucket=store.bucket, Prefix=PREFIX)
    found.listing = {entry["Key"]: entry["Size"] for page in pages for entry in page.get("Contents", [])}
    found.parts = len(store.client.list_multipart_uploads(Bucket=store.bucket).get("Uploads", []))
    wanted = [
        row["key"] for row in found.objects if row["state"] == "visible" and row["key"] in found.listing
    ]

    def read(key: str) -> bytes:
        return store.client.get_object(Bucket=store.bucket, Key=key)["Body"].read()

    with ThreadPoolExecutor(8) as pool:
        found.data = dict(zip(wanted, pool.map(read, wanted), strict=True))
    return found


def store_of(world: World) -> S3Store:
    """The bucket, past every link."""
    values = {name.removeprefix("LATENTFARM_").lower(): value for name, value in world.variables.items()}
    secret = SecretStr(values.pop("s3_secret_access_key"))
    settings = Settings(s3_secret_access_key=secret, **values)  # type: ignore[arg-type]  # pydantic parses them
    return S3Store.from_settings(settings)
