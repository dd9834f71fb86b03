"""`near_duplicates.parquet`: which images of a whole run look like an earlier one, whatever shards they are in."""

from __future__ import annotations

import io
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from worker.seal.crowds import with_company
from worker.seal.duplicates import NearDuplicates

if TYPE_CHECKING:
    from collections.abc import Callable

PATH = "near_duplicates.parquet"
_READ = ["id", "ordinal", "phash", "colour"]
EACH = 1_000
"""Images between two signs of life."""
SCHEMA = pa.schema(
    {
        "id": pa.string(),
        "shard": pa.string(),
        "ordinal": pa.int64(),
        "duplicate_of": pa.string(),
        "duplicate_of_shard": pa.string(),
        "duplicate_of_ordinal": pa.int64(),
        "distance": pa.int64(),
    }
)


class Looks:
    """The looks of a run, out of the indexes of its shards: 28 bytes an image, and its id."""

    def __init__(self) -> None:
        self._shards: list[str] = []
        self._ids: list[pa.ChunkedArray] = []
        self._columns: list[tuple[Any, ...]] = []

    def add(self, shard: str, index: bytes) -> None:
        """Take the rows of a shard; images of one colour have no hash, and are passed over.

        Args:
            shard: its name, such as `000003-1`.
            index: the file's bytes.
        """
        table = pq.read_table(pa.BufferReader(index), columns=_READ)
        table = table.filter(table["phash"].is_valid())
        shards = np.full(len(table), len(self._shards), np.uint32)
        self._shards.append(shard)
        self._ids.append(table["id"])
        ordinals = table["ordinal"].to_numpy().astype(np.int64)
        self._columns.append((shards, ordinals, _numbers(table["phash"], 16), _numbers(table["colour"], 6)))

    def near_duplicates(self, go_on: Callable[[], object]) -> pa.Table:
        """A row for each image that looks like an earlier one, by ordinal: the first such image, and bits apart.

        As within a shard an image that has an original is nobody's, so that n equal images are n - 1 rows.

        Args:
            go_on: called every now and then; may raise to end it.
        """
        if not self._columns:
            return SCHEMA.empty_table()
        shards, ordinals, hashes, colours = (np.concatenate(one) for one in zip(*self._columns, strict=True))
        order = np.argsort(ordinals, kind="stable")
        company = with_company(hashes, go_on)
        seen = NearDuplicates()
        places: dict[int, int] = {}
        pairs: list[tuple[int, int]] = []
        for count, place in enumerate(order[company[order]].tolist()):
            if count % EACH == 0:
                go_on()
            ordinal = int(ordinals[place])
            first = seen.add(ordinal, int(hashes[place]), int(colours[place]))
            if first is None:
                places[ordinal] = place
            else:
                pairs.append((place, places[first]))
        return self._table(np.array(pairs, np.int64).reshape(-1, 2), shards, ordinals, hashes)

    def _table(self, pairs: Any, shards: Any, ordinals: Any, hashes: Any) -> pa.Table:
        ids = pa.chunked_array([chunk for one in self._ids for chunk in one.chunks], pa.string())
        names = np.array(self._shards, object)
        columns = []
        for places in (pairs[:, 0], pairs[:, 1]):
            columns += [ids.take(pa.array(places)), names[shards[places]], ordinals[places]]
        columns.append(np.bitwise_count(hashes[pairs[:, 0]] ^ hashes[pairs[:, 1]]).astype(np.int64))
        return pa.table(dict(zip(SCHEMA.names, columns, strict=True)), schema=SCHEMA)


def content(table: pa.Table) -> bytes:
    """The file's bytes; equal rows give equal ones, with one version of pyarrow."""
    out = io.BytesIO()
    pq.write_table(table, out, compression="ZSTD")
    return out.getvalue()


def _numbers(column: pa.ChunkedArray, digits: int) -> Any:
    """Hexadecimal texts as numbers, `[n]`, uint64."""
    texts = "".join(text.rjust(16, "0") if digits < 16 else text for text in column.to_pylist())
    return np.frombuffer(bytes.fromhex(texts), ">u8").astype(np.uint64)
