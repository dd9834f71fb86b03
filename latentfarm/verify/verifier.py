"""The whole comparison: jobs, pictures, and what lies in the bucket beside them."""

from __future__ import annotations

from collections import defaultdict
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from itertools import islice
from typing import TYPE_CHECKING, TypeVar
from uuid import UUID

from latentfarm.errors import NotFound
from latentfarm.repository import auditing
from latentfarm.verify.files import inspect_files
from latentfarm.verify.inspection import inspect
from latentfarm.verify.repair import AGAIN, Repairs
from latentfarm.verify.strays import PREFIXES, Strays

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Sequence

    from latentfarm.records import ObjectRef
    from latentfarm.repository.auditing import Stored
    from latentfarm.repository.facade import Repository
    from latentfarm.storage import S3Store
    from latentfarm.verify.trouble import Trouble

JOBS = 100
RENDERS = 500
OBJECTS = 256
"""Objects between two looks at what was found; rows, and never their bytes, wait so long."""

T = TypeVar("T")


@dataclass(slots=True)
class Counts:
    """What was looked at, and what came of it."""

    jobs: int = 0
    objects: int = 0
    bytes: int = 0
    troubles: int = 0
    rendered_again: int = 0
    deleted: int = 0


@dataclass(slots=True)
class Verifier:
    """Compares, and repairs when told to.

    Attributes:
        threads: objects that are read at once, each of them as a whole.
        tell: called with every trouble.
        progress: called now and then while all is well.
    """

    repository: Repository
    store: S3Store
    collect_after_s: float
    repair: bool
    tell: Callable[[Trouble], None]
    progress: Callable[[Counts], None]
    threads: int = 4
    counts: Counts = field(default_factory=Counts)

    def jobs(self, ids: Sequence[UUID]) -> None:
        """Some jobs, the pictures that they start from, and strays under the keys of their renders.

        Raises:
            NotFound: there is no such job.
            TransientError: the store did not answer.
        """
        for job_id in ids:
            if not self._has_job(job_id):
                raise NotFound(f"no job {job_id}")
        self._check(ids)
        for job_id in ids:
            self._check_pictures(self._pictures_of(job_id))
            for render in self._renders(job_id):
                self._look_for_strays([f"v1/images/{render}/", f"v1/latents/{render}/"])

    def everything(self) -> None:
        """All jobs, all pictures, and strays in the whole bucket."""
        after = UUID(int=0)
        while ids := self._jobs_behind(after):
            self._check(ids)
            after = ids[-1]
        last = b""
        while found := self._pictures_behind(last):
            self._check_pictures(found)
            last = found[-1].ref.sha256 if found[-1].ref is not None else last
        self._look_for_strays(PREFIXES)

    def _check(self, ids: Sequence[UUID]) -> None:
        broken: dict[UUID, list[Trouble]] = defaultdict(list)
        for batch in _batches(self._stored(ids), OBJECTS):
            for trouble in self._inspect(batch):
                if trouble.what is not None and trouble.what.job_id is not None:
                    broken[trouble.what.job_id].append(trouble)
        self._check_files(ids)
        self.counts.jobs += len(ids)
        repairs = Repairs(self.repository, self.store)
        for job_id, troubles in broken.items():
            self._report(repairs.of_job(job_id, troubles) if self.repair else troubles)

    def _check_files(self, ids: Iterable[UUID]) -> None:
        """The files of datasets among the jobs. What is wrong with one is told; images of it are kept nowhere else."""
        for job_id in ids:
            refs = self._files_of(job_id)
            for ref, trouble in zip(refs, inspect_files(self.store, iter(refs)), strict=True):
                self.counts.objects += 1
                self.counts.bytes += ref.size
                self._report([trouble] if trouble else [])
                self.progress(self.counts)

    def _files_of(self, job_id: UUID) -> list[ObjectRef]:
        return self.repository.transact(lambda c: auditing.files_of(c, job_id))

    def _check_pictures(self, found: Sequence[Stored]) -> None:
        troubles = self._inspect(found)
        if self.repair and troubles:
            troubles = Repairs(self.repository, self.store).of_job(UUID(int=0), troubles)
        self._report(troubles)

    def _stored(self, ids: Iterable[UUID]) -> Iterator[Stored]:
        for job_id in ids:
            first = 0
            while self._page(job_id, first):
                yield from self._stored_page(job_id, first)
                first += RENDERS

    def _has_job(self, job_id: UUID) -> bool:
        return self.repository.transact(lambda c: auditing.has_job(c, job_id))

    def _pictures_of(self, job_id: UUID) -> list[Stored]:
        return self.repository.transact(lambda c: auditing.inputs_of(c, job_id))

    def _stored_page(self, job_id: UUID, first: int) -> list[Stored]:
        return self.repository.transact(lambda c: auditing.stored(c, job_id, first=first, limit=RENDERS))

    def _jobs_behind(self, after: UUID) -> list[UUID]:
        return self.repository.transact(lambda c: auditing.jobs(c, after=after, limit=JOBS))

    def _pictures_behind(self, after: bytes) -> list[Stored]:
        return self.repository.transact(lambda c: auditing.inputs(c, after=after, limit=OBJECTS))

    def _renders(self, job_id: UUID) -> Iterator[int]:
        first = 0
        while page := self._page(job_id, first):
            yield from page
            first += RENDERS

    def _page(self, job_id: UUID, first: int) -> list[int]:
        return self.repository.transact(lambda c: auditing.renders(c, job_id, first=first, limit=RENDERS))

    def _inspect(self, batch: Sequence[Stored]) -> list[Trouble]:
        with ThreadPoolExecutor(self.threads, thread_name_prefix="verify") as pool:
            found = [
                trouble for trouble in pool.map(lambda what: inspect(self.store, what), batch) if trouble
            ]
        self.counts.objects += len(batch)
        self.counts.bytes += sum(what.ref.size for what in batch if what.ref is not None)
        self.progress(self.counts)
        return [trouble for trouble in found if self._stands(trouble)]

    def _stands(self, trouble: Trouble) -> bool:
        """Whether SQL still says what it said: the object may have been deleted, rightly, meanwhile."""
        what = trouble.what
        return what is None or self.repository.transact(lambda c: auditing.still_stored(c, what))

    def _look_for_strays(self, prefixes: Iterable[str]) -> None:
        strays = Strays(self.repository, self.store, self.collect_after_s, self.repair)
        for prefix in prefixes:
            self._report(strays.under(prefix))
            self.progress(self.counts)

    def _report(self, troubles: Iterable[Trouble]) -> None:
        for trouble in troubles:
            self.counts.troubles += 1
            self.counts.rendered_again += trouble.done == AGAIN
            self.counts.deleted += trouble.done == "deleted"
            self.tell(trouble)


def _batches(items: Iterator[T], size: int) -> Iterator[list[T]]:
    while batch := list(islice(items, size)):
        yield batch
