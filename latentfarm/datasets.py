"""What happens to datasets on behalf of users: asked for, checked, gone on with.

A manifest that comes with the request is checked at once, and an error stores nothing. One that lies in the bucket is
written down as `checking`; the scheduler reads it, by `take`, and what is wrong with it is told by the dataset itself.
"""

from __future__ import annotations

import hashlib
import json
import secrets
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any

from latentfarm import dataset_terms as terms
from latentfarm.errors import Conflict, Ended, InvalidInput, ManifestChanged, NotFound
from latentfarm.keys import spool_key
from latentfarm.manifests.checking import check
from latentfarm.manifests.defaults import keep_latents
from latentfarm.manifests.fingerprint import difference, fingerprint
from latentfarm.manifests.parts import CONTENT_TYPE
from latentfarm.manifests.reading import inline_rows
from latentfarm.manifests.request import NAME
from latentfarm.repository import inserting, leftovers, quotas, sets, uploads
from latentfarm.spec import SEED_RANGE

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence
    from uuid import UUID

    from sqlalchemy import Connection

    from latentfarm.manifests.checked import Checked
    from latentfarm.manifests.fingerprint import Difference
    from latentfarm.manifests.request import DatasetRequest
    from latentfarm.manifests.row import Row
    from latentfarm.records import ObjectRef
    from latentfarm.registry import Registry
    from latentfarm.repository.facade import Repository
    from latentfarm.repository.sets import Dataset
    from latentfarm.storage import ObjectStore


@dataclass(frozen=True, slots=True)
class Datasets:
    """What the use cases stand on; `retain_days` counts for datasets that do not say so, None: for ever."""

    repository: Repository
    store: ObjectStore
    registry: Registry
    new_id: Callable[[], UUID]
    retain_days: float | None = None

    def create(self, request: DatasetRequest, *, tenant: str) -> UUID:
        """Takes a dataset, or goes on with the one of that name.

        Raises:
            ManifestError: a row is wrong; nothing was stored.
            InvalidInput: the request itself is wrong.
            ManifestChanged: there is a dataset of that name, made by other parameters or rows.
            Conflict: its rows are still coming in; of kind `Ended`: cancelled or gone.
            TooMuchQueued: it would be a new one, and no more of the tenant may wait, or cost, or be kept.
        """
        known = self._known(request.name, tenant)
        if known is None:
            # Of a large one the rows wait in the spool until there is room for them.
            self.repository.transact(partial(quotas.check_open, tenant=tenant))
        seed = _seed(request, known)
        if not terms.is_inline(request):
            return self._leave_to_the_scheduler(request, known, seed, tenant)
        dataset_id = known.id if known else self.new_id()
        if known is not None and not self.repository.transact(lambda c: leftovers.touch(c, dataset_id)):
            raise Conflict(f"somebody else is at the dataset {request.name}; try again later")
        checked = self._check(dataset_id, request, inline_rows(request.manifest), seed, known)
        is_new = known is None
        self._settle(dataset_id, request, checked, seed, tenant=tenant, known=known, is_new=is_new)
        return dataset_id

    def seed_of(self, request: DatasetRequest, tenant: str) -> int:
        """The run's seed: as asked for, else of the dataset that is there, else drawn."""
        return _seed(request, sets_find(self.repository, request.name, tenant))

    def take(
        self, dataset: Dataset, request: DatasetRequest, rows: Iterable[Row], *, tell: Callable[[int], None]
    ) -> None:
        """Checks the manifest of a dataset in phase `checking`, and has its images come in.

        Args:
            tell: called with the images so far; what it raises ends the check.

        Raises:
            InvalidInput: see `create`; the caller tells the dataset.
        """
        if dataset.gone_at is not None:
            raise InvalidInput("name", "the files of the dataset are gone by now", "another name")
        if dataset.cancelled_at is not None:
            raise InvalidInput("name", "the dataset was cancelled", "another name")
        known = dataset if dataset.digest else None
        checked = self._check(dataset.id, request, rows, dataset.seed, known, tell)
        self._settle(
            dataset.id, request, checked, dataset.seed, tenant=dataset.tenant, known=known, is_new=False
        )

    def _known(self, name: str, tenant: str) -> Dataset | None:
        """The dataset to go on with; one of which nothing was rendered is forgotten."""
        known = sets_find(self.repository, name, tenant)
        if known is None or known.phase == "rejected":
            if known is not None:
                rejected = known.id
                self.repository.transact(lambda c: sets.forget(c, rejected))
            return None
        if known.cancelled_at is not None:
            raise Ended(f"the dataset {name} was cancelled; another name makes another one")
        terms.refuse_gone(known)
        if known.phase != "inserted":
            raise Conflict(f"the rows of the dataset {name} are still coming in; try again later")
        return known

    def _leave_to_the_scheduler(
        self, request: DatasetRequest, known: Dataset | None, seed: int, tenant: str
    ) -> UUID:
        terms.check_format(request)
        stored = request.model_dump(mode="json")
        dataset_id = known.id if known else self.new_id()
        values: dict[str, Any] = {"tenant": tenant, "name": request.name, "request": stored, "seed": seed}

        def leave(connection: Connection) -> bool:
            if request.manifest.upload is not None:
                uploads.require(connection, request.manifest.upload, tenant=tenant)
            if known is not None:
                return sets.check_again(connection, dataset_id, stored)
            return sets.add(connection, dataset_id, report={}, **values)

        if not self.repository.transact(leave):
            raise Conflict(f"somebody else is at the dataset {request.name}; try again later")
        return dataset_id

    def _check(
        self,
        dataset_id: UUID,
        request: DatasetRequest,
        rows: Iterable[Row],
        seed: int,
        known: Dataset | None,
        tell: Callable[[int], None] | None = None,
    ) -> Checked:
        put: list[str] = []

        def put_part(number: int, data: bytes) -> ObjectRef:
            key = spool_key(dataset_id, number, hashlib.sha256(data).digest())
            put.append(key)
            return self.store.put(key, data, CONTENT_TYPE)

        if known is not None and known.fingerprint is not None:
            # First, or every row would differ, and nobody be told why.
            own = json.dumps(json.loads(known.fingerprint) | {"models": {}})
            now = fingerprint(request, seed=seed, registry=self.registry, models={})
            _refuse_changed(known, request, difference(own, now.text))
        previous = (known.images, known.digest) if known is not None and known.digest else None
        try:
            return check(
                request,
                rows,
                registry=self.registry,
                seed=seed,
                put_part=put_part,
                previous=previous,
                limit=terms.most_images(request),
                units=terms.most_units(request),
                tell=tell,
            )
        except InvalidInput:
            if known is None:  # else some of them are those of the rows that are there
                self.store.delete(put)
            raise

    def _settle(
        self,
        dataset_id: UUID,
        request: DatasetRequest,
        checked: Checked,
        seed: int,
        *,
        tenant: str,
        known: Dataset | None,
        is_new: bool,
    ) -> None:
        """Stores what was checked, unless it is what is there already."""
        made = fingerprint(request, seed=seed, registry=self.registry, models=checked.models)
        if known is not None and known.fingerprint is not None:
            _refuse_changed(known, request, difference(known.fingerprint, made.text))
        if known is not None and known.digest == checked.digest:
            self.repository.transact(lambda c: sets.stay(c, dataset_id))
            return

        def store(connection: Connection) -> bool:
            if is_new:
                stored = terms.without_rows(request)
                sets.add(
                    connection,
                    dataset_id,
                    tenant=tenant,
                    name=request.name,
                    request=stored,
                    seed=seed,
                    report={},
                )
            return self._begin(connection, dataset_id, request, checked, seed, made.text, tenant, known)

        if not self.repository.transact(store):
            self.repository.transact(lambda c: leftovers.touch(c, dataset_id))
            raise Conflict(f"somebody else is at the dataset {request.name}; try again later")

    def _begin(
        self,
        connection: Connection,
        dataset_id: UUID,
        request: DatasetRequest,
        checked: Checked,
        seed: int,
        text: str,
        tenant: str,
        known: Dataset | None,
    ) -> bool:
        report = terms.report_of(checked, seed) | {"models": sorted(checked.models), "error": None}
        report["licences"] = {name: self.registry.get(name).licence or "" for name in checked.models}
        accepted = sets.accept(
            connection,
            dataset_id,
            fingerprint=text,
            digest=checked.digest,
            images=checked.counts.images,
            report=report,
            parts=checked.parts,
            phase=known.phase if known else "checking",
            before=known.images if known else 0,
        )
        if not accepted:
            return False
        inserting.begin(
            connection,
            dataset_id,
            tenant=tenant,
            seed=seed,
            first=known.images if known else 0,
            images=checked.counts.images,
            shard_samples=shard_samples_of(known, request),
            picture=json.loads(checked.first[0].picture),
            priority=request.priority,
            keep_latents=keep_latents(request),
            retain_days=self.retain_days if request.retain_days is None else request.retain_days,
            metadata=dict(request.metadata),
            models=sorted(checked.models),
            start_after=request.start_after.isoformat() if request.start_after else None,
        )
        return True


def _refuse_changed(known: Dataset, request: DatasetRequest, changed: Sequence[Difference]) -> None:
    told = [str(one) for one in changed] + terms.changed_output(known.request, request)
    if told:
        raise ManifestChanged(request.name, told)


def shard_samples_of(known: Dataset | None, request: DatasetRequest) -> int:
    """Images of a shard; a dataset keeps those that it began with."""
    return int(known.request["shard_samples"]) if known else request.shard_samples


def sets_find(repository: Repository, name: str, tenant: str) -> Dataset | None:
    """The tenant's dataset of that name."""
    return repository.transact(lambda c: sets.find(c, name, tenant=tenant))


def require(repository: Repository, name: str, tenant: str) -> Dataset:
    """The tenant's dataset of that name.

    Raises:
        NotFound: there is none.
    """
    # No other name can be one; PostgreSQL would not even take some.
    found = sets_find(repository, name, tenant) if NAME.fullmatch(name) else None
    if found is None:
        raise NotFound(f"no dataset {terms.plain(name)}")
    return found


def _seed(request: DatasetRequest, known: Dataset | None) -> int:
    if request.seed is not None:
        return request.seed
    return known.seed if known else secrets.randbelow(SEED_RANGE)
