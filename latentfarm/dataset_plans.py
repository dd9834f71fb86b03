"""What datasets would be: rows in a request are looked at while somebody waits, manifests in the bucket by the scheduler."""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING, Any

from latentfarm import dataset_terms as terms
from latentfarm.manifests.checking import check
from latentfarm.manifests.reading import inline_rows
from latentfarm.records import ObjectRef
from latentfarm.repository import plans

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable
    from uuid import UUID

    from latentfarm.datasets import Datasets
    from latentfarm.manifests.request import DatasetRequest
    from latentfarm.manifests.row import Row
    from latentfarm.repository.sets import Dataset


def plan_now(datasets: Datasets, request: DatasetRequest, *, tenant: str) -> dict[str, Any]:
    """The report of a dry run whose rows are in the request; stores nothing.

    Raises:
        ManifestError: a row is wrong.
        InvalidInput: the request is wrong.
    """
    seed = datasets.seed_of(request, tenant)
    return _report(datasets, request, inline_rows(request.manifest), seed)


def plan_later(datasets: Datasets, request: DatasetRequest, *, tenant: str) -> UUID:
    """Leaves a dry run to the scheduler, which keeps nothing but its report, for a day.

    Raises:
        InvalidInput: the request is wrong.
    """
    terms.check_format(request)
    plan_id, seed = datasets.new_id(), datasets.seed_of(request, tenant)
    stored = request.model_dump(mode="json")
    datasets.repository.transact(lambda c: plans.add(c, plan_id, tenant=tenant, request=stored, seed=seed))
    return plan_id


def make(
    datasets: Datasets,
    plan: Dataset,
    request: DatasetRequest,
    rows: Iterable[Row],
    tell: Callable[[int], None],
) -> None:
    """Makes a dry run that waits.

    Args:
        tell: called with the images so far; what it raises ends it.

    Raises:
        InvalidInput: something is wrong; the caller tells.
    """
    report = _report(datasets, request, rows, plan.seed, tell)
    datasets.repository.transact(lambda c: plans.tell(c, plan.id, report))


def _report(
    datasets: Datasets,
    request: DatasetRequest,
    rows: Iterable[Row],
    seed: int,
    tell: Callable[[int], None] | None = None,
) -> dict[str, Any]:
    checked = check(
        request,
        rows,
        registry=datasets.registry,
        seed=seed,
        put_part=_put_nowhere,
        limit=terms.most_images(request),
        units=terms.most_units(request),
        tell=tell,
    )
    return terms.report_of(checked, seed)


def _put_nowhere(number: int, data: bytes) -> ObjectRef:
    return ObjectRef(f"dry-run/{number}", hashlib.sha256(data).digest(), len(data))
