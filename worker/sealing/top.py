"""The files at the top of a dataset: made anew whenever its shards have changed."""

from __future__ import annotations

import hashlib
import json
from functools import partial
from pathlib import PurePath
from typing import TYPE_CHECKING, Any

from latentfarm.repository.sealing import indexes_of, marks_of
from worker.seal import card, looks, manifest
from worker.seal.makers import Makers
from worker.seal.manifest import Manifest, NearFile
from worker.seal.run import Model, Run
from worker.seal.shard import Layout, ShardFile
from worker.sealing.folder import in_memory

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from uuid import UUID

    import pyarrow as pa
    from sqlalchemy import Connection

    from latentfarm.records import ObjectRef
    from latentfarm.repository.facade import Repository
    from latentfarm.repository.sealing import Task
    from worker.sealing.folder import Folder
    from worker.sealing.gathering import Gathering
    from worker.sealing.shift import Shift

    Kept = tuple[str, ObjectRef]
    Hashes = Mapping[str, tuple[str, str]]

_TOLD = ("prompt", "prompt_2", "negative_prompt", "negative_prompt_2", "metadata", "webhook")
"""Defaults that say nothing of how images were made, or may be long."""


def make_top(
    task: Task, folder: Folder, repository: Repository, gathering: Gathering, shift: Shift
) -> tuple[dict[str, Any], ...]:
    """Reads the completion marks and indexes of all shards; puts manifest, card and near-duplicates.

    Raises:
        Abandoned: the shift is over.
        RenderError: one of them is not what it was, or the store was away for too long.
    """
    kept = shift.wait(gathering.ask(lambda: repository.transact(lambda c: _kept(c, task.dataset_id))))
    found, hashes = _looked_at(kept[1], gathering, shift)
    rows = looks.content(found)
    near = NearFile(len(found), file_of(looks.PATH, rows))
    made = Manifest(run_of(task, hashes), (mark for _, mark in _read(kept[0], gathering, shift)), near)
    contents = {
        manifest.PATH: made.content(),
        card.PATH: card.card(made),
        looks.PATH: rows,
    }
    return tuple(
        shift.wait(gathering.ask(partial(_put, folder, path, data, shift))) for path, data in contents.items()
    )


def _kept(connection: Connection, dataset: UUID) -> tuple[list[Kept], list[Kept]]:
    """Marks and indexes of the same moment."""
    return marks_of(connection, dataset), indexes_of(connection, dataset)


def _read(kept: list[Kept], gathering: Gathering, shift: Shift) -> Iterator[tuple[str, bytes]]:
    for path, data in gathering.ahead(kept, gathering.fetch, shift):
        shift.go_on()
        if data is not None:
            yield path, data


def _looked_at(indexes: list[Kept], gathering: Gathering, shift: Shift) -> tuple[pa.Table, Hashes]:
    """What looks like an earlier image of the whole run, and the hashes of its models."""
    seen, makers = looks.Looks(), Makers()
    for path, index in _read(indexes, gathering, shift):
        seen.add(PurePath(path).stem, index)
        makers.add(index)
    return seen.near_duplicates(shift.go_on), makers.hashes()


def _put(folder: Folder, path: str, data: bytes, shift: Shift) -> dict[str, Any]:
    return folder.put(file_of(path, data), in_memory(data), shift)


def file_of(path: str, data: bytes) -> ShardFile:
    """How a file is named elsewhere."""
    return ShardFile(path, len(data), hashlib.sha256(data).hexdigest())


def run_of(task: Task, hashes: Hashes) -> Run:
    """What the top files tell of the run.

    Args:
        hashes: as `Makers.hashes` has them.
    """
    told = json.loads(task.fingerprint)
    defaults = {name: value for name, value in told["defaults"].items() if name not in _TOLD}
    return Run(
        name=task.name,
        layout=Layout(task.request["layout"]),
        seed=task.seed,
        fingerprint=hashlib.sha256(task.fingerprint.encode()).hexdigest(),
        digest=bytes(task.digest).hex(),
        images=task.images,
        shard_samples=int(task.request["shard_samples"]),
        models=tuple(
            _model(name, entry["places"], hashes.get(name, ("", "")), task.licences.get(name, ""))
            for name, entry in told["models"].items()
        ),
        settings={
            name: value if isinstance(value, str) else json.dumps(value)
            for name, value in sorted(defaults.items())
            if value is not None
        },
    )


def _model(name: str, places: dict[str, str], hashes: tuple[str, str], licence: str) -> Model:
    """Source and revision of its base; of a folder the last part, since the rest tells of a machine."""
    where, at, revision = places.get("base", "").rpartition(" at ")
    source, commit = (where, revision) if at else (PurePath(revision).name, "")
    return Model(name, source, commit, hashes[0], licence, hashes[1])
