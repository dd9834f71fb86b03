"""A job of kind `refine` comes in: its renders begin with what earlier ones have left."""

from __future__ import annotations

from typing import TYPE_CHECKING

from sqlalchemy import text

from latentfarm.database import CHANNEL_WORK, notify
from latentfarm.errors import InvalidInput, SourceGone
from latentfarm.records import Shape
from latentfarm.references import content, digests
from latentfarm.repository import inputs, quotas, sources
from latentfarm.repository.submitting import add_record, add_spec, add_specs, queue_id
from latentfarm.repository.tenancy import check_room
from latentfarm.states import Stage

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from uuid import UUID

    from sqlalchemy import Connection

    from latentfarm.quotas import Ask
    from latentfarm.records import ObjectRef, Refinement, Source
    from latentfarm.spec import RenderSpec

_RENDERS = text("""
    INSERT INTO renders (job_id, spec_id, seed, ordinal, queue_id, stage, priority)
    SELECT :job_id, spec, seed, ordinal - 1, :queue_id, :stage, :priority
    FROM unnest(CAST(:specs AS bigint[]), CAST(:seeds AS bigint[])) WITH ORDINALITY AS w(spec, seed, ordinal)
""")


def add_refined(
    connection: Connection,
    job_id: UUID,
    wanted: Refinement,
    *,
    tenant: str,
    asks: Callable[[], Ask] | None = None,
) -> int:
    """Stores a job whose renders are queued for the refine stage, and holds what they are made from.

    Args:
        asks: what it counts; only asked where the tenant has quotas.

    Returns:
        The id of the queue that they wait in.

    Raises:
        TooMuchQueued: the tenant has as many renders waiting as it may; of kind `OverQuota`: or as much as its quotas.
        SourceGone: latents, images, or a picture that the source job started from, were swept away a moment ago.
    """
    check_room(connection, tenant, len(wanted.sources))
    spec = wanted.spec
    whole, specs = _specs(connection, wanted)
    add_record(connection, job_id, spec, whole, tenant=tenant, refined=(wanted.job_id, wanted.source))
    if wanted.source == "latents":
        _hold(connection, job_id, wanted)
    else:
        _adopt(connection, job_id, wanted)
    queue = queue_id(connection, Stage.REFINE, spec.model, spec.lane)
    renders = {"job_id": job_id, "queue_id": queue, "stage": int(Stage.REFINE), "priority": spec.priority}
    seeds = [source.seed for source in wanted.sources]
    connection.execute(_RENDERS, {**renders, "specs": specs, "seeds": seeds})
    sources.tie(connection, job_id, wanted.sources)
    notify(connection, CHANNEL_WORK, queue)
    if asks is not None and quotas.get(connection, [tenant]):
        quotas.take(connection, tenant, job_id, asks())
    return queue


def _specs(connection: Connection, wanted: Refinement) -> tuple[int, list[int]]:
    """The ids of the spec that the job shows and of those of its renders.

    From images each render has its own `image`; of more than one the job shows what they have in common.
    """
    if wanted.source == "latents":
        whole = add_spec(connection, wanted.spec.picture())
        return whole, [whole] * len(wanted.sources)
    own = add_specs(connection, [_with_image(wanted.spec, ref).picture() for ref in _refs(wanted.sources)])
    if len(own) == 1:
        return own[0], own
    return add_spec(connection, wanted.spec.model_copy(update={"image": None}).picture()), own


def _with_image(spec: RenderSpec, ref: ObjectRef) -> RenderSpec:
    return spec.model_copy(update={"image": content(ref.sha256)})


def _refs(found: Sequence[Source]) -> list[ObjectRef]:
    return [source.ref for source in found if source.ref is not None]


def _hold(connection: Connection, job_id: UUID, wanted: Refinement) -> None:
    """The latents, and the pictures that the spec names: a mask is needed again, the rest for a replay."""
    gone = sources.hold(connection, wanted.sources)
    if gone:
        raise SourceGone.latents(wanted.job_id, gone)
    try:
        inputs.use(connection, job_id, digests(wanted.spec))
    except InvalidInput as error:
        raise SourceGone.inputs(wanted.job_id) from error


def _adopt(connection: Connection, job_id: UUID, wanted: Refinement) -> None:
    """The images become inputs where they lie: no byte is copied."""
    if gone := sources.hold(connection, wanted.sources):
        raise SourceGone.image(wanted.job_id, gone)
    height, width = wanted.size
    refs = _refs(wanted.sources)
    inputs.adopt(connection, refs, Shape(wanted.format, width, height))
    inputs.use(connection, job_id, {ref.key: ref.sha256 for ref in refs})
