"""One shard: its images come out of the bucket, its files go into it."""

from __future__ import annotations

import hashlib
import json
import tempfile
from contextlib import ExitStack
from functools import partial
from typing import TYPE_CHECKING, Any

from latentfarm.errors import LatentsError
from latentfarm.redraws import MOST_REDRAWS, Wanting
from latentfarm.states import RenderState
from worker.seal.duplicates import NearDuplicates
from worker.seal.packing import pack
from worker.seal.piece import Facts, Piece
from worker.seal.policy import Policy, judge
from worker.seal.shard import Layout, LeftOut, Shard, ShardFile
from worker.sealing.folder import in_memory

if TYPE_CHECKING:
    from collections.abc import Iterator
    from typing import BinaryIO

    from latentfarm.records import ObjectRef
    from latentfarm.repository.sealing import Member, Task
    from worker.seal.policy import Verdict
    from worker.seal.quality import Quality
    from worker.sealing.folder import Folder
    from worker.sealing.gathering import Gathering
    from worker.sealing.roll import Entry, Roll
    from worker.sealing.shift import Shift

Measured = tuple[bytes, "Quality | None"]


class ShardMaker:
    """Packs one shard of a task. What it finds out while it does so stands in its attributes.

    Attributes:
        left_out: images that are not in it, and why.
        wanting: images that are to be rendered again, before anything is packed.
        seconds: on devices, for all that belongs to it.
    """

    def __init__(self, task: Task, roll: Roll, gathering: Gathering, shift: Shift) -> None:
        self._roll = roll
        self._gathering = gathering
        self._shift = shift
        self._shard = Shard(Layout(task.request["layout"]), task.number, task.part)
        self._most_bytes = int(task.request["shard_bytes"])
        self._policy = Policy(**task.request["quality"])
        self._seen = NearDuplicates()
        self.left_out: list[LeftOut] = []
        self.wanting: list[Wanting] = []
        self.seconds = 0.0

    def make(self, folder: Folder) -> tuple[int, tuple[dict[str, Any], ...]] | None:
        """Packs and puts; the completion mark comes last.

        Returns:
            (images in the shard, its files as SQL keeps them); None when some are wanting, and nothing was put.

        Raises:
            Abandoned: the shift is over.
            RenderError: an image is not what it was, or the store was away for too long.
        """
        with ExitStack() as stack:
            data: list[BinaryIO] = []

            def further() -> BinaryIO:
                data.append(stack.enter_context(tempfile.TemporaryFile()))
                return data[-1]

            index = stack.enter_context(tempfile.TemporaryFile())
            sealed = pack(
                self._shard,
                self._pieces(),
                further(),
                index,
                most_bytes=self._most_bytes,
                further=further,
            )
            if self.wanting:
                return None
            files = [
                self._put(folder, content, file)
                for content, file in zip(sealed.files, (*data, index), strict=True)
            ]
        stats = sealed.stats(self.left_out)
        mark = ShardFile(self._shard.stats_path, len(stats), hashlib.sha256(stats).hexdigest())
        files.append(self._put(folder, mark, in_memory(stats)))
        return sealed.images, tuple(files)

    def _put(self, folder: Folder, content: ShardFile, file: Any) -> dict[str, Any]:
        return self._shift.wait(self._gathering.ask(lambda: folder.put(content, file, self._shift)))

    def _wanted(self) -> Iterator[tuple[Entry, ObjectRef | None]]:
        for first, end in self._roll.pages():
            at = first
            while at < end:
                entries, at = self._shift.wait(self._gathering.ask(partial(self._roll.read, at, end)))
                for entry in entries:
                    yield entry, entry.member.ref if entry.member.state is RenderState.SUCCEEDED else None

    def _pieces(self) -> Iterator[Piece]:
        for entry, measured in self._gathering.ahead(self._wanted(), self._gathering.image, self._shift):
            self._shift.go_on()
            self.seconds += entry.member.seconds
            if measured is None:
                self.left_out.append(_not_made(entry))
                continue
            piece = self._judged(entry, *measured)
            # Once one is wanting the others are only looked at: all that are go back together.
            if piece is not None and not self.wanting:
                yield piece

    def _judged(self, entry: Entry, image: bytes, quality: Quality | None) -> Piece | None:
        member = entry.member
        duplicate, alone = None, judge(self._policy, quality, None, non_finite=member.non_finite)
        # What goes is nobody's original.
        if quality is not None and quality.phash is not None and not _goes_back(member, alone):
            duplicate = self._seen.add(member.ordinal, quality.phash, quality.colour)
        verdict = judge(self._policy, quality, duplicate, non_finite=member.non_finite)
        if verdict.action == "drop":
            told = f"looks like image {duplicate}" if verdict.reason == "duplicate" else ""
            left_out = LeftOut(member.ordinal, entry.sample.id, "dropped", verdict.reason, told)
            self.left_out.append(left_out)
            return None
        if _goes_back(member, verdict):
            self.wanting.append(Wanting(member.render_id, verdict.reasons))
            return None
        return _piece(entry, image, quality, duplicate, exhausted=verdict.action == "again")


def _goes_back(member: Member, verdict: Verdict) -> bool:
    return verdict.action == "again" and len(member.rejected) < MOST_REDRAWS


def _not_made(entry: Entry) -> LeftOut:
    member = entry.member
    if member.state is RenderState.SUCCEEDED:
        # Retried, since somebody may bring it back; never passed over in silence.
        raise LatentsError(f"image {member.ordinal} was made, and no object of it is left")
    reason = member.error_class if member.state is RenderState.FAILED else None
    outcome = member.state.label
    return LeftOut(
        member.ordinal, entry.sample.id, outcome, reason or outcome, member.message or "" if reason else ""
    )


def _piece(
    entry: Entry, image: bytes, quality: Quality | None, duplicate_of: int | None, *, exhausted: bool
) -> Piece:
    member, sample = entry.member, entry.sample
    picture = json.loads(sample.picture)
    return Piece(
        ordinal=member.ordinal,
        id=sample.id,
        image=image,
        sha256=hashlib.sha256(image).hexdigest(),
        format=picture["output"]["format"],
        picture=picture,
        seed=member.seed,
        facts=_facts(entry),
        metadata=sample.metadata,
        quality=quality,
        duplicate_of=duplicate_of,
        rejected=member.rejected,
        exhausted=exhausted,
    )


def _facts(entry: Entry) -> Facts:
    member = entry.member
    told = member.notes.get("provenance", {})
    return Facts(
        worker="" if member.worker_id is None else f"worker{member.worker_id}",
        device=told.get("device", ""),
        model_hash=told.get("model_hash", ""),
        refiner_hash=told.get("refiner_hash", ""),
        versions=told.get("versions", ""),
        started_at=member.started_at,
        finished_at=member.finished_at,
        seconds=member.seconds,
        starts=member.starts,
        non_finite=member.non_finite,
    )
