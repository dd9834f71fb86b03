"""The files of a dataset: what is sealed, with a link to each."""

import re
from http import HTTPStatus
from typing import Annotated

from fastapi import APIRouter, Query

from api import datasets_shown
from api.access import needs
from api.deps import Services, Tenant, Use
from api.openapi import problems
from api.problems import ProblemError
from api.routes_datasets import Name
from latentfarm.api_keys import Scope
from latentfarm.dataset_views import FileList, FileView, ShardView
from latentfarm.datasets import require
from latentfarm.errors import InvalidInput
from latentfarm.repository import sets
from latentfarm.repository.sets import ShardFiles
from latentfarm.retention import told

router = APIRouter(prefix="/v1/datasets", tags=["datasets"])

SHARDS_PAGE = 100
"""Shards of one answer, at most; fewer where the links are long."""
_START = (-2, 0)
_PLACE = re.compile(r"(-1|\d{1,6})\.(\d{1,4})")


@router.get(
    "/{name}/files",
    responses=problems(HTTPStatus.NOT_FOUND, HTTPStatus.GONE, HTTPStatus.UNPROCESSABLE_ENTITY),
    dependencies=[needs(Scope.READ)],
)
def files(
    name: Name,
    use: Use,
    tenant: Tenant,
    after: Annotated[str | None, Query(description="`next` of the page before.", max_length=16)] = None,
) -> FileList:
    """Lists the files of sealed shards, and those at the top once all are sealed, with a link to each.

    410 once they were kept for as long as was asked.
    """
    dataset = require(use.repository, name, tenant)
    if dataset.gone_at is not None:
        detail = told(f"the files of the dataset {name}", dataset.gone_at, dataset.retain_days)
        raise ProblemError(HTTPStatus.GONE, "gone", detail)
    place = _START if after is None else _place(after)
    found = use.repository.transact(lambda c: sets.files(c, dataset.id, after=place, limit=SHARDS_PAGE + 1))
    shown = datasets_shown.within(_shard(use, shard) for shard in found[:SHARDS_PAGE])
    more = len(found) > len(shown)
    return FileList(data=shown, next=f"{shown[-1].number}.{shown[-1].part}" if more else None)


def _place(after: str) -> tuple[int, int]:
    found = _PLACE.fullmatch(after)
    if found is None:
        raise InvalidInput("after", "not a place in the list", "next of the page before")
    return int(found[1]), int(found[2])


def _shard(use: Services, shard: ShardFiles) -> ShardView:
    return ShardView(
        number=shard.number,
        part=shard.part,
        images=shard.images,
        files=[
            FileView(
                path=file["path"],
                size=file["size"],
                sha256=file["sha256"],
                url=use.store.link(file["key"], seconds=use.settings.link_s),
            )
            for file in shard.files
        ],
    )
