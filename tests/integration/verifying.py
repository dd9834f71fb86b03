"""Steps that tests of verify share: a bucket of the test's own, jobs whose pictures can be decoded."""

from __future__ import annotations

import uuid
from typing import TYPE_CHECKING

from sqlalchemy import text

from latentfarm.ids import new_id
from latentfarm.records import Done
from latentfarm.repository import finishing
from latentfarm.spec import RefinerSpec, RenderSpec
from latentfarm.storage import S3Store
from latentfarm.verify.verifier import Verifier
from tests.drawing import picture

if TYPE_CHECKING:
    from collections.abc import Sequence
    from uuid import UUID

    from latentfarm.records import Claimed, ObjectRef
    from latentfarm.repository.facade import Repository
    from latentfarm.settings import Settings
    from latentfarm.verify.trouble import Kind, Trouble
    from tests.integration.serving import Puppet

ANY_AGE = -60.0
"""Strays of every age may go: a clock of whole seconds may say that one is of the future."""


def own_bucket(settings: Settings) -> Settings:
    """Render ids begin at 1 in every test's database, so a bucket of all of them is full of strays."""
    mine = settings.model_copy(update={"s3_bucket": f"verify-{uuid.uuid4().hex[:12]}"})
    S3Store.from_settings(mine).client.create_bucket(Bucket=mine.s3_bucket)
    return mine


def submit(repository: Repository, n: int, *, refiner: bool = False, **fields: object) -> UUID:
    job_id = new_id()
    given = {"prompt": "a", "seed": 1, "width": 64, "height": 64, "sampler": "euler", **fields}
    spec = RenderSpec.model_validate(
        {**given, "num_images": n, "refiner": RefinerSpec() if refiner else None}
    )
    repository.add_job(job_id, spec, tenant="somebody")
    return job_id


def finish(puppet: Puppet, claimed: Sequence[Claimed]) -> dict[int, ObjectRef]:
    """Ends renders well, each with a picture that depends on its index alone."""
    refs = {
        item.ordinal: puppet.store.put(item.key, picture(8 + item.ordinal, 8, fill="red"), "image/png")
        for item in claimed
    }
    done = [Done(item.render_id, item.fence, refs[item.ordinal], 4) for item in claimed]
    assert len(puppet.repository.transact(lambda c: finishing.finish(c, done))) == len(done)
    return refs


def ended(repository: Repository, puppet: Puppet, n: int, *, refiner: bool = False) -> tuple[UUID, list[str]]:
    """A job that has succeeded, and the keys of its images by index."""
    job_id = submit(repository, n, refiner=refiner)
    claimed = puppet.claim()
    if refiner:
        puppet.hand_over(claimed)
        claimed = puppet.claim()
    refs = finish(puppet, claimed)
    return job_id, [refs[index].key for index in range(n)]


class Verified:
    """One run of verify, and what it told."""

    def __init__(
        self,
        repository: Repository,
        store: S3Store,
        jobs: Sequence[UUID] = (),
        *,
        repair: bool = False,
        after_s: float = ANY_AGE,
    ) -> None:
        self.told: list[Trouble] = []
        verifier = Verifier(repository, store, after_s, repair, self.told.append, lambda _: None)
        if jobs:
            verifier.jobs(jobs)
        else:
            verifier.everything()
        self.counts = verifier.counts

    @property
    def kinds(self) -> list[tuple[Kind, str]]:
        return sorted((trouble.kind, trouble.key) for trouble in self.told)

    @property
    def done(self) -> list[str]:
        return [trouble.done for trouble in self.told]


def rows(repository: Repository, sql: str, **values: object) -> list[tuple[object, ...]]:
    return repository.transact(lambda c: [tuple(row) for row in c.execute(text(sql), values)])


def keys(store: S3Store) -> set[str]:
    return set(store.list_keys("v1/"))
