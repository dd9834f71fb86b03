"""The images that belong to a shard, as SQL and the spool have them, a page at a time."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from typing import TYPE_CHECKING

from latentfarm.manifests.parts import first_of
from latentfarm.repository.sealing import members_of, parts_of

if TYPE_CHECKING:
    from collections.abc import Iterator

    from sqlalchemy import Connection

    from latentfarm.manifests.sample import Sample
    from latentfarm.records import ObjectRef
    from latentfarm.repository.facade import Repository
    from latentfarm.repository.sealing import Member, Task
    from worker.sealing.spool import Spool

PAGE = 2_000
"""Ordinals that are looked up at once: a shard may have 100,000 images, and each has notes and prompts."""


@dataclass(frozen=True, slots=True)
class Entry:
    """An image of a shard, final: what SQL knows, and what the manifest said."""

    member: Member
    sample: Sample


class Roll:
    """The images of one shard, by ordinal."""

    def __init__(self, repository: Repository, spool: Spool, task: Task) -> None:
        self._repository = repository
        self._spool = spool
        self._task = task

    def pages(self) -> Iterator[tuple[int, int]]:
        """Ranges of ordinals (first, end) that hold all of them, and perhaps others.

        The renders of a supplement may be anywhere among those of its shard; and a shard that some have left for a
        supplement has fewer, and still its last one.
        """
        task = self._task
        end = task.first + max(task.count, int(task.request["shard_samples"]))
        for first in range(task.first, end, PAGE):
            yield first, min(end, first + PAGE)

    def read(self, first: int, end: int) -> tuple[list[Entry], int]:
        """The images of the shard with these ordinals, as many as fit, and the ordinal to go on from."""

        def ask(connection: Connection) -> tuple[list[Member], list[ObjectRef]]:
            members = members_of(connection, dataclasses.replace(self._task, first=first), end)
            if not members:
                return [], []
            task = dataclasses.replace(self._task, first=members[0].ordinal)
            return members, parts_of(connection, task, members[-1].ordinal + 1)

        members, parts = self._repository.transact(ask)
        samples = first_of(self._spool.samples(parts, [member.ordinal for member in members]))
        entries = [Entry(*pair) for pair in zip(members, samples, strict=False)]
        return entries, end if len(entries) == len(members) else entries[-1].member.ordinal + 1
