"""Pass 1: every row expanded and checked, every sample spooled, before anything is stored in SQL."""

from __future__ import annotations

import hashlib
import itertools
from dataclasses import dataclass
from typing import TYPE_CHECKING

from latentfarm.errors import InvalidInput, ManifestError
from latentfarm.manifests.checked import Checked, Counts, Skipped
from latentfarm.manifests.drafts import Drafts
from latentfarm.manifests.effort import MOST_UNITS, Effort
from latentfarm.manifests.sample import Sample
from latentfarm.manifests.seen import Seen
from latentfarm.manifests.spool import Spool
from latentfarm.manifests.usage import Usage
from latentfarm.spec import SEED_RANGE

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from latentfarm.manifests.drafts import Draft, Labels
    from latentfarm.manifests.request import DatasetRequest
    from latentfarm.manifests.row import Row
    from latentfarm.records import ObjectRef
    from latentfarm.registry import Registry

    PutPart = Callable[[int, bytes], ObjectRef]

_HELD = 1_000
"""Drafts of a row that are kept; a row with more is expanded twice, to be checked before it is spooled."""
_IDS_PER_UNIT = 10
LISTED = 1_000
"""Rows that are listed of those left out."""


def check(
    request: DatasetRequest,
    rows: Iterable[Row],
    *,
    registry: Registry,
    seed: int,
    put_part: PutPart,
    previous: tuple[int, bytes] | None = None,
    limit: int,
    units: int = MOST_UNITS,
    tell: Callable[[int], None] | None = None,
) -> Checked:
    """Expands, checks and spools a manifest, a row at a time.

    Args:
        rows: as `reading.read_rows` or `reading.inline_rows` gives them.
        seed: of the run.
        put_part: stores part `number` of the spool; called in order. Parts of a manifest that turns out to be
            wrong are there already: the caller sweeps them.
        previous: images and digest of an earlier run of the same name, which the manifest must begin with.
        limit: images that the run may have.
        units: of work, that templates and sweeps may take; see `effort`.
        tell: called with the images so far, while a row gives them; what it raises ends the check.

    Raises:
        ManifestError: the first error, with its line; nothing that was put is of use.
        InvalidInput: `defaults` or `sweep` of the request itself.
    """
    effort = Effort(units)
    drafts = Drafts(request, registry, seed, effort)
    checking = _Checking(request, drafts, effort, Spool(put_part, previous), seed, limit)
    checking.tell = tell or checking.tell
    for place, row in enumerate(rows):
        checking.row(row, place)
    return checking.end()


@dataclass(frozen=True, slots=True)
class _Planned:
    """A row that is right, and what it gives."""

    labels: Labels
    drafts: Iterable[Draft]
    several: bool


class _Checking:
    """One manifest on its way through."""

    def __init__(
        self, request: DatasetRequest, drafts: Drafts, effort: Effort, spool: Spool, seed: int, limit: int
    ) -> None:
        self._skip_invalid = request.skip_invalid
        self._drafts = drafts
        self._effort = effort
        self._spool = spool
        self._seed = seed
        self._limit = limit
        self._ids = Seen(lines=True)
        self._usage = Usage()
        self.tell: Callable[[int], None] = _silent
        self._rows = self._left_out = 0
        self._skipped: list[Skipped] = []

    def row(self, row: Row, place: int) -> None:
        """Takes the next row, or leaves it out as a whole."""
        self._rows += 1
        planned = None
        try:
            if self._spool.images + self._drafts.most(row) <= self._limit:
                planned = self._plan(row, place)
        except InvalidInput as error:
            self._leave_out(row, error)
            return
        if planned is None:
            raise self._too_many(row)
        self._take(row, planned)

    def end(self) -> Checked:
        """What was found.

        Raises:
            ManifestError: nothing to render.
        """
        if not self._spool.images:
            message = "every row was left out" if self._rows else "holds no rows"
            first = (
                f"; the first, line {self._skipped[0].line}: {self._skipped[0].message}" if self._rows else ""
            )
            raise ManifestError("manifest", message + first, "at least one row")
        digest = self._spool.end()
        return Checked(
            Counts(self._rows, self._spool.images, self._left_out),
            tuple(self._spool.parts),
            digest,
            tuple(self._spool.first),
            self._spool.duplicates,
            tuple(self._skipped),
            self._usage.megapixel_steps,
            self._usage.megapixels,
            self._usage.models(),
        )

    def _leave_out(self, row: Row, error: InvalidInput) -> None:
        if not self._skip_invalid or self._effort.is_over:
            raise ManifestError.at(row.line, error) from error
        self._left_out += 1
        if len(self._skipped) < LISTED:
            allowed = f" (allowed: {error.allowed})" if error.allowed else ""
            self._skipped.append(Skipped(row.line, error.field, error.message + allowed))

    def _plan(self, row: Row, place: int) -> _Planned:
        """What a row gives; all of it is looked at before any is spooled where rows may be left out.

        Raises:
            InvalidInput: something of it is not right.
        """
        labels = self._drafts.labels(row)
        drafts = self._drafts.of(row, place)
        held = list(itertools.islice(drafts, _HELD))
        if not held:
            raise InvalidInput("prompt", "the template gives no prompt", "at least one")
        several = len(held) > 1 or held[0].images > 1
        if not self._skip_invalid:
            return _Planned(labels, itertools.chain(held, drafts), several)
        images = sum(draft.images for draft in itertools.chain(held, drafts))
        if labels.id is not None:
            self._effort.spend(images // _IDS_PER_UNIT, "id")
            for index in range(images):
                self._check_id(name_of(labels.id, index, several=several))
        return _Planned(labels, self._drafts.of(row, place) if len(held) == _HELD else held, several)

    def _check_id(self, name: str) -> None:
        if (line := self._ids.find(name)) is not None:
            raise InvalidInput("id", f"{name!r} is the id of line {line} too", "each once")

    def _take(self, row: Row, planned: _Planned) -> None:
        index = 0
        try:
            for draft in planned.drafts:
                if self._spool.images + draft.images > self._limit:
                    raise self._too_many(row)
                self._drafts.format = self._drafts.format or draft.recipe.spec.output.format
                digest = hashlib.sha256(draft.picture.encode()).digest()
                for step in range(draft.images):
                    self._add(row, planned, draft, digest, index, step)
                    index += 1
                self._usage.add(draft.recipe)
                self.tell(self._spool.images)
        except InvalidInput as error:
            raise (
                error if isinstance(error, ManifestError) else ManifestError.at(row.line, error)
            ) from error

    def _add(self, row: Row, planned: _Planned, draft: Draft, digest: bytes, index: int, step: int) -> None:
        ordinal, given = self._spool.images, planned.labels.id
        name = f"{ordinal:09d}" if given is None else name_of(given, index, several=planned.several)
        self._check_id(name)
        self._ids.add(name, row.line)
        first = self._seed + ordinal if draft.seed is None else draft.seed + step
        metadata = planned.labels.metadata
        self._spool.add(Sample(ordinal, name, first % SEED_RANGE, draft.picture, digest, row.line, metadata))

    def _too_many(self, row: Row) -> ManifestError:
        return ManifestError("manifest", "gives too many images", f"up to {self._limit}", line=row.line)


def _silent(_: int) -> None:
    pass


def name_of(given: str, index: int, *, several: bool) -> str:
    """Id of an image of a row that has one."""
    return f"{given}-{index}" if several else given
