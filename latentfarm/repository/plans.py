"""Dry runs of manifests that are read by the scheduler: they wait like datasets, under names that none can have."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from sqlalchemy import text

from latentfarm.repository import sets

if TYPE_CHECKING:
    from uuid import UUID

    from sqlalchemy import Connection

    from latentfarm.repository.sets import Dataset

PREFIX = "dry-run/"
"""Of their names; no dataset's name has a slash."""

# What nobody has asked for in a day nobody will.
_OLD = text("""
    DELETE FROM datasets WHERE tenant = :tenant AND name LIKE 'dry-run/%' AND phase = 'rejected'
     AND created_at < now() - interval '1 day'
""")

_TOLD = text("""
    UPDATE datasets SET phase = 'rejected', report = CAST(:report AS jsonb) WHERE id = :id AND phase = 'checking'
""")


def add(connection: Connection, plan_id: UUID, *, tenant: str, request: dict[str, Any], seed: int) -> None:
    """Stores a dry run that is to be made, and forgets those of the tenant that are over for long."""
    connection.execute(_OLD, {"tenant": tenant})
    name = f"{PREFIX}{plan_id}"
    sets.add(connection, plan_id, tenant=tenant, name=name, request=request, seed=seed, report={})


def get(connection: Connection, plan_id: UUID, *, tenant: str) -> Dataset | None:
    """The tenant's dry run of that id: in phase `checking`, and `rejected` once it is over, with its report."""
    found = sets.get(connection, plan_id, tenant=tenant)
    return found if found is not None and is_plan(found) else None


def tell(connection: Connection, plan_id: UUID, report: dict[str, Any]) -> None:
    """A dry run is over; nothing was stored but what it found."""
    connection.execute(_TOLD, {"id": plan_id, "report": json.dumps(report)})


def is_plan(dataset: Dataset) -> bool:
    """Whether what waits to be checked is a dry run."""
    return dataset.name.startswith(PREFIX)
