"""Refines images of a job again: a new job, made from what the other one has left."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Protocol

from latentfarm.errors import InvalidInput, NotFound, NotSupported, SourceGone
from latentfarm.lifecycle import Submitted, replayed
from latentfarm.quotas import ask_of_refined
from latentfarm.records import Refinement
from latentfarm.references import Content, parse
from latentfarm.refinement import IMAGE, LATENTS, refined_spec, source_of
from latentfarm.spec import RenderSpec
from latentfarm.states import LIVE, Stage

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from uuid import UUID

    from latentfarm.lifecycle import Farm
    from latentfarm.mode_rules import PixelSize
    from latentfarm.quotas import Ask
    from latentfarm.records import Job, Shape, Source
    from latentfarm.refinement import RefineRequest


class RefineRecords(Protocol):
    """What this use case needs of SQL, besides what the farm has."""

    def add_refined(
        self,
        job_id: UUID,
        wanted: Refinement,
        *,
        tenant: str,
        key: str | None = None,
        fingerprint: bytes = b"",
        asks: Callable[[], Ask] | None = None,
    ) -> tuple[int | None, tuple[bytes, UUID] | None]:
        """Stores a job that holds what it is made from, or finds whose the key is."""

    def sources(self, job_id: UUID, kind: str, indices: Sequence[int] | None) -> list[Source]:
        """Images of a job, and what there is of them."""

    def shape_of(self, sha256: bytes) -> Shape | None:
        """The shape of a picture that a job started from."""


@dataclass(frozen=True, slots=True)
class Refining:
    """The use case, on the farm that also submits and cancels."""

    farm: Farm
    records: RefineRecords

    def refine(
        self, job_id: UUID, request: RefineRequest, *, tenant: str = "", key: str | None = None
    ) -> Submitted:
        """Validates a request, stores the new job, and sends its first renders when they are interactive.

        Raises:
            NotFound: the tenant has no such job.
            InvalidInput: what cannot be done with what the job left, or the key came with another body.
            SourceGone: latents or images are not there; names them.
        """
        # As it was sent: a score that is named is not the same as one that is left as in the job.
        said = request.model_dump_json(exclude_unset=True)
        fingerprint = hashlib.sha256(f"refine {job_id} {said}".encode()).digest()
        # First: what the first call has found may be gone when its key comes again.
        if key is not None and (before := self.farm.records.known_key(tenant, key)) is not None:
            return replayed(before, fingerprint)
        job = self.farm.records.get_job(job_id, tenant=tenant)
        if job is None:
            raise NotFound(f"no job {job_id}")
        if job.deleted_at is not None:
            raise NotFound(f"the job {job_id} was deleted")
        wanted = self._wanted(job, request)
        new_id = self.farm.new_id()
        asks = partial(ask_of_refined, wanted.spec, self.farm.registry.get(wanted.spec.model))
        queue_id, known = self.records.add_refined(
            new_id, wanted, tenant=tenant, key=key, fingerprint=fingerprint, asks=asks
        )
        return self.farm.accepted(new_id, wanted.spec.lane, queue_id, known, fingerprint)

    def _wanted(self, job: Job, request: RefineRequest) -> Refinement:
        if job.kind == "dataset":
            # Its images have specs of their own, and go when they are packed.
            raise NotSupported("job_id", "refining a dataset is not built yet", "a job of another kind")
        own = {name: getattr(job, name) for name in ("lane", "priority", "keep_latents", "retain_days")}
        spec = RenderSpec.model_validate({**job.spec, **own})
        source = source_of(spec, request)
        _check_indices(job, request.indices)
        if source == IMAGE and job.gone_at is not None:
            # Some may still lie there, as pictures that other jobs start from.
            raise SourceGone.image(job.id, request.indices or range(job.num_images))
        size = self._size(job, spec)
        entry = self.farm.registry.get(spec.model)
        full = refined_spec(spec, request, entry, size if source == IMAGE else None)
        found = self.records.sources(job.id, source, request.indices)
        _check_there(job, source, found)
        if request.indices is not None:
            by_index = {one.index: one for one in found}
            found = [by_index[index] for index in request.indices]
        full = self.farm.with_term(full)
        full = full.model_copy(update={"num_images": len(found), "seed": found[0].seed})
        return Refinement(job.id, source, full, tuple(found), size, spec.output.format)

    def _size(self, job: Job, spec: RenderSpec) -> PixelSize:
        """Of the job's images: a crop is put back into its picture, and has that one's size."""
        if spec.padding_mask_crop is None or spec.image is None:
            return spec.height or 0, spec.width or 0
        named = parse("image", spec.image)
        shape = self.records.shape_of(named.sha256) if isinstance(named, Content) else None
        if shape is None:
            raise SourceGone.inputs(job.id)
        return shape.height, shape.width


def _check_indices(job: Job, indices: tuple[int, ...] | None) -> None:
    given = indices or ()
    for index in given:
        if index >= job.num_images:
            raise InvalidInput("indices", f"the job has no image {index}", f"0 to {job.num_images - 1}")
    if len(set(given)) < len(given):
        raise InvalidInput("indices", "an image is named twice", "each once")


def _check_there(job: Job, source: str, found: Sequence[Source]) -> None:
    absent = [one for one in found if one.stored is None]
    waited = [
        one.index for one in absent if one.state in LIVE and (source == IMAGE or one.stage is Stage.BASE)
    ]
    gone = {one.index for one in absent}.difference(waited)
    if gone:
        raise (SourceGone.latents if source == LATENTS else SourceGone.image)(job.id, gone)
    if waited:
        raise SourceGone.not_ready(job.id, waited)
