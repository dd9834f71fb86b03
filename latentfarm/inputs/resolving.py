"""From what a spec names to what the farm keeps: fetched, examined, stored once by content."""

from __future__ import annotations

import hashlib
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING

from latentfarm.errors import InvalidInput
from latentfarm.inputs.decoding import examine
from latentfarm.inputs.turns import Turns
from latentfarm.keys import input_key, upload_key
from latentfarm.records import StoredInput
from latentfarm.references import (
    INPUT_FIELDS,
    MAX_INPUT_BYTES,
    Content,
    Data,
    Reference,
    Remote,
    Upload,
    content,
    parse,
)
from latentfarm.repository import inputs, uploads

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from uuid import UUID

    from latentfarm.inputs.fetching import Fetcher
    from latentfarm.records import Shape
    from latentfarm.repository.facade import Repository
    from latentfarm.spec import RenderSpec
    from latentfarm.storage import S3Store

FETCH_S = 10.0
"""Seconds for all URLs of one spec together; a submit is answered within 20 s whatever happens."""
AT_ONCE = 16
"""Specs of one process whose pictures are looked at together, half of them of one tenant: slow servers must not take every thread."""
TURN_S = 1.0
GONE = "the id of an upload that was made and has not expired"


@dataclass(frozen=True, slots=True)
class _Found:
    """Bytes on their way into the store. `upload` is the id that they came by."""

    data: bytes
    shape: Shape
    upload: UUID | None


class Resolver:
    """Resolves the pictures of specs. Thread-safe."""

    def __init__(self, repository: Repository, store: S3Store, fetcher: Fetcher) -> None:
        self._repository = repository
        self._store = store
        self._fetcher = fetcher
        self._turns = Turns(AT_ONCE, TURN_S)

    def resolve(
        self,
        spec: RenderSpec,
        *,
        tenant: str,
        fit: Callable[[RenderSpec, dict[str, Shape]], RenderSpec],
        brought: Mapping[bytes, bytes] | None = None,
        keep: bool = True,
    ) -> RenderSpec:
        """The spec with `sha256:...` in place of every reference.

        Args:
            brought: files that came with the spec, by the SHA-256 that it names them by.
            fit: takes the spec and the shape of each picture by field, and gives the spec as it fits
                them. What it refuses is not stored.
            keep: whether to store what fits; without it the spec only shows what it would be.

        Raises:
            InvalidInput: a picture is not there, is none, or does not fit; names the field.
            ServiceUnavailable: too many others are at it, or too many of the tenant's own.
            TransientError: the object store does not answer.
        """
        with self._turns.turn(tenant):
            deadline = time.monotonic() + FETCH_S
            wanted = {name: text for name in INPUT_FIELDS if (text := getattr(spec, name)) is not None}
            parsed = {name: parse(name, text) for name, text in wanted.items()}
            found = {
                name: self._brought(name, each, brought or {}) or self._find(name, each, tenant, deadline)
                for name, each in parsed.items()
            }
            fitting = fit(spec, {name: each.shape for name, each in found.items()})
            store = self._keep if keep else _digest
            kept = {name: content(store(each)) for name, each in found.items()}
        return fitting.model_copy(update=kept)

    @staticmethod
    def _brought(field: str, reference: Reference, brought: Mapping[bytes, bytes]) -> _Found | None:
        if not isinstance(reference, Content) or reference.sha256 not in brought:
            return None
        data = brought[reference.sha256]
        return _Found(data, examine(field, data), None)

    def _find(self, field: str, reference: Reference, tenant: str, deadline: float) -> _Found | StoredInput:
        match reference:
            case Content(sha256):
                known = self._known(sha256, tenant)
                if known is None:
                    raise InvalidInput(field, "no picture with this digest is kept", "give the picture again")
                return known
            case Upload(upload_id):
                return self._uploaded(field, upload_id, tenant)
            case Data(data):
                return _Found(data, examine(field, data), None)
            case Remote(url):
                data = self._fetcher.fetch(field, url, deadline=deadline)
                return _Found(data, examine(field, data), None)

    def _known(self, sha256: bytes, tenant: str, *, known: bool = False) -> StoredInput | None:
        return self._repository.transact(lambda c: inputs.find(c, sha256, tenant=tenant, known=known))

    def _uploaded(self, field: str, upload_id: UUID, tenant: str) -> _Found | StoredInput:
        ticket = self._repository.transact(lambda c: uploads.find(c, upload_id, tenant=tenant))
        if ticket is None:
            raise InvalidInput(field, f"there is no upload {upload_id}, or it has expired", GONE)
        if ticket.used_as is not None and (kept := self._known(ticket.used_as, tenant, known=True)):
            return kept
        try:
            data = self._store.read(upload_key(upload_id), most=MAX_INPUT_BYTES)
        except InvalidInput as error:
            raise InvalidInput(field, error.message, error.allowed) from error
        if data is None:
            raise InvalidInput(field, f"nothing was put to the link of upload {upload_id}", GONE)
        return _Found(data, examine(field, data), upload_id)

    def _keep(self, found: _Found | StoredInput) -> bytes:
        if isinstance(found, StoredInput):
            return found.ref.sha256
        sha256, upload = keep(self._repository, self._store, found.data, found.shape), found.upload
        if upload is not None:
            self._repository.transact(lambda c: uploads.mark_used(c, upload, sha256))
        return sha256


def keep(repository: Repository, store: S3Store, data: bytes, shape: Shape) -> bytes:
    """Stores a picture once for each content; SHA-256 of it.

    Row first, then object: what is in the bucket can always be found from SQL.
    """
    sha256 = hashlib.sha256(data).digest()
    if not repository.transact(lambda c: inputs.plan(c, sha256, len(data), shape)):
        store.put(input_key(sha256), data, f"image/{shape.format}")
        repository.transact(lambda c: inputs.mark_stored(c, sha256))
    return sha256


def _digest(found: _Found | StoredInput) -> bytes:
    return found.ref.sha256 if isinstance(found, StoredInput) else hashlib.sha256(found.data).digest()
