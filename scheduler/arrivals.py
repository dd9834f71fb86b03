"""Datasets come in: manifests in the bucket are checked, and what was checked becomes renders, a part at a time."""

from __future__ import annotations

import itertools
import tempfile
import threading
from contextlib import contextmanager
from functools import partial
from typing import TYPE_CHECKING

from sqlalchemy.exc import SQLAlchemyError

from latentfarm.dataset_plans import make
from latentfarm.dataset_terms import plain
from latentfarm.errors import InvalidInput, LatentfarmError, ManifestError
from latentfarm.keys import PREFIX, upload_key
from latentfarm.logs import get_logger
from latentfarm.manifests.parts import first_of, read_part
from latentfarm.manifests.reading import format_of, read_rows
from latentfarm.manifests.request import DatasetRequest
from latentfarm.quotas import ask_of_sample
from latentfarm.repository import inserting, phases, quotas, sets, uploads
from latentfarm.repository.plans import is_plan
from latentfarm.repository.tenancy import dataset_room
from scheduler.turns import Postponed, Turns

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

    from sqlalchemy import Connection

    from latentfarm.datasets import Datasets
    from latentfarm.manifests.row import Row
    from latentfarm.repository.facade import Repository
    from latentfarm.repository.quotas import Quota
    from latentfarm.repository.sets import Dataset
    from latentfarm.storage import S3Store

LOOK_S = 0.5
"""Seconds between two looks of a pass that has nothing to do, whichever of its threads looks."""
AWAY_S = 2.0
MEMORY = 64 * 1024 * 1024
"""Bytes of a Parquet manifest that are kept in memory rather than in a file."""
CHECKERS = 3
"""Manifests that are checked at once, each of another tenant: a long one must not hold up all others."""


class Arrivals:
    """The two passes over manifests. Any number of schedulers may run them: a dataset has one reader at a time."""

    def __init__(self, repository: Repository, store: S3Store, datasets: Datasets) -> None:
        self._repository = repository
        self._store = store
        self._datasets = datasets
        self._turns = Turns()
        self._stopping = threading.Event()
        loops = [("inserting", self._insert_some, 0, 1)]
        loops += [("checking", self._check_one, number, CHECKERS) for number in range(CHECKERS)]
        self._threads = [
            threading.Thread(target=self._loop, args=given, name=given[0], daemon=True) for given in loops
        ]

    def start(self) -> None:
        """Starts threads for each pass: a long manifest must not hold up rows that were checked."""
        for thread in self._threads:
            thread.start()

    def stop(self) -> None:
        """Ends the threads after the part that they are at."""
        self._stopping.set()

    def join(self, timeout_s: float) -> None:
        """Waits for the threads."""
        for thread in self._threads:
            thread.join(timeout_s)

    def _loop(self, phase: str, some: Callable[[], bool], number: int, threads: int) -> None:
        # By turns: three that look each half a second would ask for the same three times.
        self._stopping.wait(number * LOOK_S)
        while not self._stopping.is_set():
            try:
                if not some():
                    self._stopping.wait(threads * LOOK_S)
            except (LatentfarmError, SQLAlchemyError) as error:
                get_logger().warning("arrivals_failed", phase=phase, error=str(error).splitlines()[0])
                self._stopping.wait(AWAY_S)

    def _insert_some(self) -> bool:
        """A turn for each; whether there is more to do at once."""
        moved, after = False, phases.FIRST
        while not self._stopping.is_set():
            look = partial(phases.in_phase, phase="inserting", after=after)
            found = self._repository.transact(look, single=True)
            # Whatever is wrong with some, or keeps them waiting, must not keep the others from their turn.
            for dataset in found:
                moved |= self._turn("inserting", self.insert, dataset)
            if len(found) < phases.AT_ONCE:
                break
            after = found[-1].id
        return moved

    def _check_one(self) -> bool:
        """A turn for the first that may have one and comes to an end; whether there was one."""
        busy = self._repository.transact(lambda c: phases.busy(c, "checking"), single=True)
        for dataset in self._turns.in_order(busy):
            with self._turns.held(dataset) as mine:
                if mine and self._turn("checking", self.check, dataset):
                    return True
        return False

    def _turn(self, phase: str, one: Callable[[Dataset], bool], dataset: Dataset) -> bool:
        """One turn of one dataset; whether to look for more at once."""
        try:
            # To hold one takes a connection of its own, and hundreds may wait for the limits of their tenants.
            if phase == "inserting" and not self._to_insert(dataset):
                return False
            with self._held(dataset) as mine:
                # Another thread may have been at it since it was found.
                now = self._repository.transact(lambda c: sets.get(c, dataset.id, tenant=dataset.tenant))
                return mine and now is not None and now.phase == phase and one(now)
        except Postponed as error:
            get_logger().info("manifest_postponed", dataset=str(dataset.id), reason=str(error))
        except Exception as error:  # noqa: BLE001 - nobody would start the thread again
            first = (str(error).splitlines() or [type(error).__name__])[0]
            get_logger().warning("arrivals_failed", phase=phase, dataset=str(dataset.id), error=first)
        return False

    @contextmanager
    def _held(self, dataset: Dataset) -> Iterator[bool]:
        engine = self._repository.engine.execution_options(isolation_level="AUTOCOMMIT")
        with engine.connect() as connection:
            try:
                yield phases.hold(connection, dataset.id)
            finally:
                # The lock is the session's, and the pool would keep both.
                connection.invalidate()

    def check(self, dataset: Dataset) -> bool:
        """Reads a manifest to its end; what is wrong with it, the dataset tells.

        Raises:
            Postponed: it has to be begun again later.
        """
        request = DatasetRequest.model_validate(dataset.report.get("again") or dataset.request)
        try:
            rows, tell = self._rows(dataset, request), partial(self._go_on, dataset)
            if is_plan(dataset):
                make(self._datasets, dataset, request, rows, tell)
            else:
                self._datasets.take(dataset, request, rows, tell=tell)
        except InvalidInput as error:
            parts = {"field": error.field, "message": error.message, "allowed": error.allowed}
            told = {name: plain(text) for name, text in parts.items()}
            line = error.line if isinstance(error, ManifestError) else None
            self._repository.transact(lambda c: sets.reject(c, dataset.id, told | {"line": line}))
            # Its words may quote a row; the dataset tells them to whom it belongs.
            get_logger().info("manifest_refused", dataset=str(dataset.id), code=error.code, line=line)
        else:
            get_logger().info("manifest_checked", dataset=str(dataset.id))
        return True

    def _go_on(self, dataset: Dataset, images: int) -> None:
        if self._stopping.is_set():
            raise Postponed("the scheduler stops; the manifest is read again")
        self._turns.grown(dataset, images)

    def _rows(self, dataset: Dataset, request: DatasetRequest) -> Iterator[Row]:
        key = self._key(dataset, request)
        form = format_of(key, request.format)
        if self._store.size(key) is None:
            field = "manifest.key" if request.manifest.upload is None else "manifest.upload"
            raise InvalidInput(field, "there is no such object", "one that was put before")
        chunks = self._until_stopped(self._store.stream(key, 1 << 20))
        if form != "parquet":
            yield from read_rows(form, chunks)
            return
        with tempfile.SpooledTemporaryFile(MEMORY) as file:
            for chunk in chunks:
                file.write(chunk)
            file.seek(0)
            yield from read_rows(form, file)

    def _key(self, dataset: Dataset, request: DatasetRequest) -> str:
        manifest = request.manifest
        if manifest.key is not None:
            # What the farm keeps there itself may be another tenant's.
            if manifest.key.startswith(PREFIX):
                raise InvalidInput("manifest.key", f"keys under {PREFIX} are the farm's own", "another key")
            return manifest.key
        upload = manifest.upload
        if upload is None:
            raise InvalidInput("manifest", "holds no rows", "rows, prompts, upload or key")
        # It was there in time when the dataset named it, and is held since.
        if not self._repository.transact(lambda c: uploads.is_held(c, upload, tenant=dataset.tenant)):
            raise InvalidInput("manifest.upload", "no such upload", "a new upload")
        return upload_key(upload)

    def _until_stopped(self, chunks: Iterable[bytes]) -> Iterator[bytes]:
        for chunk in chunks:
            if self._stopping.is_set():
                raise Postponed("the scheduler stops; the manifest is read again")
            yield chunk

    def insert(self, dataset: Dataset) -> bool:
        """Makes renders of the next samples, a part at most, in one transaction; False when no more are to come."""
        asked = self._repository.transact(lambda c: inserting.ask(c, dataset.id))
        room = self._to_insert(dataset)
        if asked is None or not room:
            return False
        done = asked[0]
        part = self._repository.transact(lambda c: sets.part_at(c, dataset.id, done))
        if part is None:
            raise LatentfarmError(f"dataset {dataset.id} has no part of the spool with image {done}")
        spooled = read_part(self._store.get(part[2]))
        samples = first_of(itertools.islice((one for one in spooled if one.ordinal >= done), room))

        def insert(connection: Connection) -> bool:
            if inserting.ask(connection, dataset.id) != asked:
                return False
            fit = samples[: _take(connection, dataset, asked[1] - done, len(samples))]
            if not fit:
                return False
            inserting.insert(
                connection,
                dataset.id,
                fit,
                models=dataset.report["models"],
                shard_samples=dataset.request["shard_samples"],
            )
            return True

        return self._repository.transact(insert)

    def _to_insert(self, dataset: Dataset) -> int:
        """How many more the limits of its tenant let in now, as it seems before a part of the spool is read."""
        own = 0 if dataset.paused_at is None else dataset.queued or 0

        def room(connection: Connection) -> int:
            asked = inserting.ask(connection, dataset.id)
            more = 0 if asked is None else asked[1] - asked[0]
            if more <= 0:
                return 0
            fit = dataset_room(connection, dataset.tenant, more, own=own)[0]
            quota = quotas.get(connection, [dataset.tenant]).get(dataset.tenant) if fit else None
            return fit if quota is None else min(fit, _fitting(connection, dataset, quota, more))

        return self._repository.transact(room)


def _take(connection: Connection, dataset: Dataset, left: int, most: int) -> int:
    """Counts the next images of a dataset against its tenant's quotas, up to `most`; how many may come in."""
    quota = quotas.lock(connection, dataset.tenant)
    if quota is None:
        return most
    fit = min(most, _fitting(connection, dataset, quota, left))
    if fit:
        quotas.spend(connection, dataset.tenant, dataset.id, ask_of_sample(dataset.report).times(fit))
    return fit


def _fitting(connection: Connection, dataset: Dataset, quota: Quota, left: int) -> int:
    return quotas.room(quota, quotas.used(connection, quota), left, ask_of_sample(dataset.report))[0]
