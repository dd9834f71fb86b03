"""Objects that no row tells of: what is left when a process dies between the store and SQL."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from latentfarm.keys import dataset_of, file_of, input_of, render_of, upload_of
from latentfarm.repository import auditing
from latentfarm.repository.files import known as known_files
from latentfarm.verify.trouble import Kind, Trouble

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from latentfarm.repository.facade import Repository
    from latentfarm.storage import Listed, S3Store

PREFIXES = (
    "v1/images/",
    "v1/latents/",
    "v1/inputs/",
    "v1/uploads/",
    "v1/files/",
    "v1/spool/",
    "v1/datasets/",
)
"""What is looked at in the whole bucket. Whatever lies beside them is somebody else's."""


@dataclass(frozen=True, slots=True)
class Strays:
    """Looks for strays, and deletes them when told to.

    Attributes:
        after_s: only what is older is deleted.
        delete: whether to.
    """

    repository: Repository
    store: S3Store
    after_s: float
    delete: bool

    def under(self, prefix: str) -> Iterator[Trouble]:
        """The strays under a prefix."""
        for page in self.store.pages(prefix):
            # The listing first: the row of an object is there before the object is.
            found = self._unknown(page)
            gone = [item.key for item in found if self._may_go(item)]
            if gone:
                self.store.delete(gone)
            yield from (self._trouble(item) for item in found)

    def _unknown(self, page: Sequence[Listed]) -> list[Listed]:
        renders = [(render, item.key) for item in page if (render := render_of(item.key)) is not None]
        shas = [sha for item in page if (sha := input_of(item.key)) is not None]
        ids = [found for item in page if (found := upload_of(item.key)) is not None]
        files = [found for item in page if (found := file_of(item.key)) is not None]
        sets = {found for item in page if (found := dataset_of(item.key)) is not None}
        known = self.repository.transact(lambda c: auditing.known_keys(c, renders)) if renders else set()
        inputs = self.repository.transact(lambda c: auditing.known_inputs(c, shas)) if shas else set()
        uploads = self.repository.transact(lambda c: auditing.known_uploads(c, ids)) if ids else set()
        kept = self.repository.transact(lambda c: known_files(c, files)) if files else set()
        datasets = self.repository.transact(lambda c: auditing.known_datasets(c, sets)) if sets else set()
        return [
            item
            for item in page
            if item.key not in known
            and input_of(item.key) not in inputs
            and upload_of(item.key) not in uploads
            and file_of(item.key) not in kept
            and dataset_of(item.key) not in datasets
        ]

    def _may_go(self, item: Listed) -> bool:
        return self.delete and _is_ours(item.key) and item.age_s > self.after_s

    def _trouble(self, item: Listed) -> Trouble:
        if not _is_ours(item.key):
            return Trouble(Kind.STRAY, item.key, f"{item.size} bytes under a name that is none of the farm's")
        detail = f"{item.size} bytes, {item.age_s:.0f} s old, and no row tells of it"
        done = "deleted" if self._may_go(item) else "kept: it is too young" if self.delete else ""
        return Trouble(Kind.STRAY, item.key, detail, done=done)


def _is_ours(key: str) -> bool:
    return any(found(key) is not None for found in (render_of, input_of, upload_of, file_of, dataset_of))
