"""Every file of a dataset, read again and compared with what was asked for."""

from __future__ import annotations

import hashlib
import io
import tarfile
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import pyarrow.parquet

from benchmarks.control_plane.small_engine import image_of
from latentfarm.records import ObjectRef

if TYPE_CHECKING:
    import psycopg

    from latentfarm.storage import S3Store


@dataclass(slots=True)
class ReadBack:
    """What was found.

    Attributes:
        renders: succeeded ones in SQL.
        rows: in the indexes of all shards.
        ids, seeds: that are different.
        wrong: files or images whose digest is not the one that was told.
        strange: images that are not those of their seed and prompt.
        left: single images that were packed and are still in the bucket's records.
    """

    renders: int
    left: int
    shards: int = 0
    size: int = 0
    rows: int = 0
    ids: int = 0
    seeds: int = 0
    wrong: int = 0
    strange: int = 0


def read_back(database: psycopg.Connection[Any], store: S3Store) -> ReadBack:
    """Reads the shards of the only dataset, one file at a time."""
    found = ReadBack(
        renders=_count(database, "SELECT count(*) FROM renders WHERE ordinal >= 0 AND state = 3"),
        left=_count(database, "SELECT count(*) FROM objects WHERE kind = 'image'"),
    )
    ids, seeds = set[str](), set[int]()
    for number, files in database.execute("SELECT number, files FROM shards ORDER BY number").fetchall():
        read = {one["path"]: _read(store, one, found) for one in files}
        if number < 0:
            continue
        found.shards += 1
        index = next(
            data for path, data in read.items() if path.startswith("index/") and path.endswith(".parquet")
        )
        table = pyarrow.parquet.read_table(io.BytesIO(index)).to_pydict()
        ids.update(table["id"])
        seeds.update(table["seed"])
        found.rows += len(table["id"])
        tar = next(data for path, data in read.items() if path.startswith("data/"))
        _compare(
            tar,
            dict(zip(table["sha256"], zip(table["seed"], table["prompt"], strict=True), strict=True)),
            found,
        )
    found.ids, found.seeds = len(ids), len(seeds)
    return found


def _read(store: S3Store, told: dict[str, Any], found: ReadBack) -> bytes:
    # Whatever differs from what was told raises: then there is no point in going on.
    data = store.get(ObjectRef(told["key"], bytes.fromhex(told["sha256"]), told["size"]))
    found.size += len(data)
    return data


def _compare(tar: bytes, rows: dict[str, tuple[int, str]], found: ReadBack) -> None:
    with tarfile.open(fileobj=io.BytesIO(tar)) as archive:
        for member in archive:
            if not member.name.endswith(".png"):
                continue
            file = archive.extractfile(member)
            data = b"" if file is None else file.read()
            row = rows.pop(hashlib.sha256(data).hexdigest(), None)
            if row is None:
                found.wrong += 1
            elif data != image_of(*row):
                found.strange += 1
    found.wrong += len(rows)


def _count(database: psycopg.Connection[Any], statement: str) -> int:
    row = database.execute(statement).fetchone()
    return int(row[0]) if row else 0
