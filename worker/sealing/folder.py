"""The folder of a dataset in the bucket: nothing in it is ever overwritten."""

from __future__ import annotations

import io
from typing import TYPE_CHECKING, Any

from latentfarm.errors import DefectError
from latentfarm.keys import dataset_key
from latentfarm.records import ObjectRef
from worker.patience import patiently

if TYPE_CHECKING:
    from typing import BinaryIO
    from uuid import UUID

    from latentfarm.storage import Archive
    from worker.seal.shard import ShardFile
    from worker.sealing.shift import Shift

PUT_LIMIT_S = 600.0
MEDIA_TYPES = {
    "json": "application/json",
    "md": "text/markdown; charset=utf-8",
    "parquet": "application/vnd.apache.parquet",
    "tar": "application/x-tar",
    "zip": "application/zip",
}


class Folder:
    """Where the files of one claim go.

    Args:
        fence: of the claim.
        own: whether every name carries the fence: for files that are made again with other content.
    """

    def __init__(self, store: Archive, dataset: UUID, fence: int, *, own: bool = False) -> None:
        self._store = store
        self._dataset = dataset
        self._fence = fence
        self._own = own

    def put(self, content: ShardFile, file: BinaryIO, shift: Shift) -> dict[str, Any]:
        """Puts a file, and tells what SQL keeps of it.

        The same bytes may lie there from an earlier claim that came to no commit: that is the usual
        case, since packing is deterministic. Where others do, this claim's get a name of their own.

        Raises:
            TransientError: the store was away for too long.
            Interrupted: the shift is over.
        """
        for fence in [self._fence] if self._own else [None, self._fence]:
            key = dataset_key(self._dataset, content.path, fence=fence)
            if self._try(ObjectRef(key, bytes.fromhex(content.sha256), content.size), file, shift):
                return {
                    "path": content.path,
                    "key": key,
                    "size": content.size,
                    "sha256": content.sha256,
                }
        raise DefectError(f"other bytes lie at {key}, which nobody but this claim may write")

    def _try(self, ref: ObjectRef, file: BinaryIO, shift: Shift) -> bool:
        media_type = MEDIA_TYPES[ref.key.rpartition(".")[2]]
        return patiently(
            lambda: self._store.put_new(ref, file, media_type),
            what=f"put {ref.key}",
            limit_s=PUT_LIMIT_S,
            stopping=shift.over,
        )


def in_memory(content: bytes) -> BinaryIO:
    """A small file."""
    return io.BytesIO(content)
