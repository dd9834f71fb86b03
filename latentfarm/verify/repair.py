"""What is done about an object that is missing or altered: render again, forget, or say that nothing helps."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from pydantic import ValidationError

from latentfarm.references import digests
from latentfarm.repository import inputs, repairing
from latentfarm.repository.auditing import Stored
from latentfarm.spec import RenderSpec
from latentfarm.states import Stage
from latentfarm.verify.inspection import inspect
from latentfarm.verify.remedy import stage_to_repeat
from latentfarm.verify.trouble import Kind, Trouble

if TYPE_CHECKING:
    from collections.abc import Sequence
    from uuid import UUID

    from latentfarm.records import ObjectRef
    from latentfarm.repository.facade import Repository
    from latentfarm.repository.repairing import Again, Lost
    from latentfarm.storage import S3Store

AGAIN = "will be rendered again"
_BROKEN = (Kind.MISSING, Kind.ALTERED)


@dataclass(slots=True)
class Repairs:
    """Repairs one job after the other. Remembers which pictures it has looked at."""

    repository: Repository
    store: S3Store
    _pictures: dict[bytes, bool] = field(default_factory=dict)

    def of_job(self, job_id: UUID, troubles: Sequence[Trouble]) -> list[Trouble]:
        """The same troubles, each with what was done about it."""
        images = {
            trouble.what.render_id: trouble.what
            for trouble in troubles
            if trouble.what is not None and trouble.what.kind == "image" and trouble.kind in _BROKEN
        }
        done = self._render_again(job_id, images) if images else {}
        return [self._told(trouble, done) for trouble in troubles]

    def _told(self, trouble: Trouble, done: dict[int, str]) -> Trouble:
        what = trouble.what
        if what is None or trouble.kind not in _BROKEN:
            return trouble
        if what.kind == "image":
            return dataclasses.replace(trouble, done=done[what.render_id])
        forgotten = self.repository.transact(
            lambda c: (
                inputs.lose(c, what.ref)
                if what.kind == "input" and what.ref is not None
                else repairing.forget_latents(c, what.render_id, what.fence)
            )
        )
        told = "forgotten; who gives the picture again stores it" if what.kind == "input" else "forgotten"
        return dataclasses.replace(trouble, done=told if forgotten else "")

    def _render_again(self, job_id: UUID, images: dict[int, Stored]) -> dict[int, str]:
        """What was done about each render."""
        done: dict[int, str] = {}
        again: list[Again] = []
        for lost in self.repository.transact(lambda c: repairing.look(c, list(images))):
            stage = self._stage(lost)
            if isinstance(stage, str):
                done[lost.render_id] = f"cannot be repaired: {stage}"
                continue
            image = images[lost.render_id]
            shown = image.fence if image.ref is not None else None
            held = lost.held if stage is Stage.REFINE else None
            again.append(repairing.Again(lost.render_id, shown, stage, held))
        queued = self.repository.transact(lambda c: repairing.repair(c, job_id, again)) if again else set()
        for item in again:
            # Cancelled, queued already by another repair, or its latents were deleted a moment ago.
            told = (
                AGAIN if item.render_id in queued else "left: its job was cancelled, or it changed meanwhile"
            )
            done[item.render_id] = told
        return done

    def _stage(self, lost: Lost) -> Stage | str:
        try:
            spec = RenderSpec(**lost.picture)
        except ValidationError as error:
            return f"the stored spec cannot be read: {error.error_count()} errors"
        latents = lost.latents is not None and self._is_sound("latents", lost.latents)
        return stage_to_repeat(
            spec,
            latents=latents,
            refined=lost.refined,
            inputs=self._has_pictures(set(digests(spec).values())),
        )

    def _has_pictures(self, shas: set[bytes]) -> bool:
        new = {sha256 for sha256 in shas if sha256 not in self._pictures}
        kept = self.repository.transact(lambda c: inputs.touch(c, new)) if new else {}
        for sha256 in new:
            self._pictures[sha256] = sha256 in kept and self._is_sound("input", kept[sha256])
        return all(self._pictures[sha256] for sha256 in shas)

    def _is_sound(self, kind: str, ref: ObjectRef) -> bool:
        return inspect(self.store, Stored(kind, ref)) is None
