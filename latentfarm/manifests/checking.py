"""Pass 1: every row expanded and checked, every sample spooled, before anything is stored in SQL."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from latentfarm.manifests.checked import Checked
    from latentfarm.manifests.request import DatasetRequest
    from latentfarm.manifests.row import Row
    from latentfarm.records import ObjectRef
    from latentfarm.registry import Registry

    PutPart = Callable[[int, bytes], ObjectRef]


def check(
    request: DatasetRequest,
    rows: Iterable[Row],
    *,
    registry: Registry,
    seed: int,
    put_part: PutPart,
    previous: tuple[int, bytes] | None = None,
    limit: int,
) -> Checked:
    """Expands, checks and spools a manifest, a row at a time.

    Args:
        rows: as `reading.read_rows` or `reading.inline_rows` gives them.
        seed: of the run.
        put_part: stores part `number` of the spool; called in order. Parts of a manifest that turns out to be
            wrong are there already: the caller sweeps them.
        previous: images and digest of an earlier run of the same name, which the manifest must begin with.
        limit: images that the run may have.

    Raises:
        ManifestError: the first error, with its line; nothing that was put is of use.
        InvalidInput: `defaults` or `sweep` of the request itself.
    """
    raise NotImplementedError
