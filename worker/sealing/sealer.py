"""From a claimed render of stage seal to files in the bucket, ready to be committed."""

from __future__ import annotations

from typing import TYPE_CHECKING

from latentfarm.logs import get_logger
from latentfarm.redraws import Redraw
from latentfarm.repository.sealing import Packed, task_of
from worker.sealing.folder import Folder
from worker.sealing.gathering import Gathering
from worker.sealing.roll import Roll
from worker.sealing.shards import ShardMaker
from worker.sealing.spool import Spool
from worker.sealing.top import make_top

if TYPE_CHECKING:
    from latentfarm.records import ObjectRef
    from latentfarm.repository.facade import Repository
    from latentfarm.storage import Archive
    from worker.engine.order import Errand
    from worker.sealing.shift import Shift


class Sealer:
    """Packs what an errand stands for: a shard, or the top of a dataset. One at a time."""

    def __init__(self, repository: Repository, store: Archive) -> None:
        self._repository = repository
        self._store = store
        self._gathering = Gathering(store)
        self._shift: Shift | None = None
        self._spool = Spool(self._part)

    def __call__(self, errand: Errand, shift: Shift) -> Packed | Redraw | None:
        """Packs and puts; nothing of it is visible before it is committed.

        Returns:
            What is to be committed: files, or what must be rendered again before there can be any. None when the
            claim is not this worker's any more.

        Raises:
            Abandoned, Interrupted: the shift is over.
            RenderError: an object is not what it was, or the store was away for too long.
            SQLAlchemyError: the database did not answer.
        """
        self._shift = shift
        repository, gathering = self._repository, self._gathering
        pair = errand.render_id, errand.fence
        task = shift.wait(gathering.ask(lambda: repository.transact(lambda c: task_of(c, *pair))))
        if task is None:
            return None
        is_top = task.number < 0
        folder = Folder(self._store, task.dataset_id, errand.fence, own=is_top)
        images, seconds = 0, 0.0
        if is_top:
            files = make_top(task, folder, repository, gathering, shift)
        else:
            maker = ShardMaker(task, Roll(repository, self._spool, task), gathering, shift)
            made = maker.make(folder)
            if made is None:
                get_logger().info("images_wanting", shard=task.shard_id, images=len(maker.wanting))
                return Redraw(*pair, task.shard_id, task.dataset_id, tuple(maker.wanting))
            images, files = made
            seconds = maker.seconds
        return Packed(
            render_id=errand.render_id,
            fence=errand.fence,
            shard_id=task.shard_id,
            dataset_id=task.dataset_id,
            number=task.number,
            images=images,
            seconds=seconds,
            files=files,
        )

    def _part(self, ref: ObjectRef) -> bytes:
        assert self._shift is not None  # noqa: S101 - a spool is read by a shift only
        return self._gathering.fetch(ref, self._shift)
