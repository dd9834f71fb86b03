"""Steps that tests of pictures share."""

from __future__ import annotations

import base64
import hashlib
from typing import TYPE_CHECKING, Any

import httpx
from sqlalchemy import text

from latentfarm.ids import new_id
from latentfarm.keys import input_key
from latentfarm.references import MAX_INPUT_BYTES, content
from latentfarm.spec import RenderSpec
from tests.drawing import picture

if TYPE_CHECKING:
    import uuid

    from latentfarm.inputs.offering import Uploads
    from latentfarm.inputs.resolving import Resolver
    from latentfarm.repository.facade import Repository
    from latentfarm.storage import S3Store

RED, BLUE = picture(64, 48, fill="red"), picture(64, 48, fill="blue")


def spec(**fields: Any) -> RenderSpec:
    values = {"prompt": "a", "seed": 1, "width": 64, "height": 64, "sampler": "euler", **fields}
    return RenderSpec(**values)


def take(resolver: Resolver, tenant: str = "", **fields: Any) -> RenderSpec:
    return resolver.resolve(spec(**fields), tenant=tenant, fit=lambda given, _: given)


def upload(uploads: Uploads, data: bytes, tenant: str = "") -> str:
    ticket, link = uploads.offer(len(data), tenant=tenant)
    assert httpx.put(link, content=data).status_code == 200
    return str(ticket.id)


def data_url(data: bytes) -> str:
    return f"data:image/png;base64,{base64.b64encode(data).decode()}"


def count(repository: Repository, table: str) -> int:
    return int(repository.transact(lambda c: c.execute(text(f"SELECT count(*) FROM {table}")).scalar_one()))


def stored(data: bytes) -> str:
    return content(hashlib.sha256(data).digest())


def add_job(repository: Repository, given: RenderSpec, tenant: str = "") -> uuid.UUID:
    job_id = new_id()
    repository.add_job(job_id, given, tenant=tenant)
    return job_id


def there(store: S3Store, data: bytes) -> bool:
    return store.read(input_key(hashlib.sha256(data).digest()), most=MAX_INPUT_BYTES) == data
