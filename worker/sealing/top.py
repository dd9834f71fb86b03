"""The files at the top of a dataset: made anew whenever its shards have changed."""

from __future__ import annotations

import hashlib
import json
from functools import partial
from pathlib import PurePath
from typing import TYPE_CHECKING, Any

from latentfarm.repository.sealing import marks_of
from worker.seal import card, manifest
from worker.seal.manifest import Manifest
from worker.seal.run import Model, Run
from worker.seal.shard import Layout, ShardFile
from worker.sealing.folder import in_memory

if TYPE_CHECKING:
    from collections.abc import Iterator

    from latentfarm.repository.facade import Repository
    from latentfarm.repository.sealing import Task
    from worker.sealing.folder import Folder
    from worker.sealing.gathering import Gathering
    from worker.sealing.shift import Shift

_TOLD = ("prompt", "prompt_2", "negative_prompt", "negative_prompt_2", "metadata", "webhook")
"""Defaults that say nothing of how images were made, or may be long."""


def make_top(
    task: Task, folder: Folder, repository: Repository, gathering: Gathering, shift: Shift
) -> tuple[dict[str, Any], ...]:
    """Reads the completion marks of all shards; puts `manifest.json` and the card.

    Raises:
        Abandoned: the shift is over.
        RenderError: a mark is not what it was, or the store was away for too long.
    """
    marks = shift.wait(gathering.ask(lambda: repository.transact(lambda c: marks_of(c, task.dataset_id))))

    def read() -> Iterator[bytes]:
        for _, mark in gathering.ahead(((None, ref) for ref in marks), gathering.fetch, shift):
            shift.go_on()
            if mark is not None:
                yield mark

    made = Manifest(run_of(task), read())
    contents = {manifest.PATH: made.content(), card.PATH: card.card(made)}
    return tuple(
        shift.wait(gathering.ask(partial(_put, folder, path, data, shift))) for path, data in contents.items()
    )


def _put(folder: Folder, path: str, data: bytes, shift: Shift) -> dict[str, Any]:
    return folder.put(ShardFile(path, len(data), hashlib.sha256(data).hexdigest()), in_memory(data), shift)


def run_of(task: Task) -> Run:
    """What the top files tell of the run."""
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
        models=tuple(_model(name, entry["places"]) for name, entry in told["models"].items()),
        settings={
            name: value if isinstance(value, str) else json.dumps(value)
            for name, value in sorted(defaults.items())
            if value is not None
        },
    )


def _model(name: str, places: dict[str, str]) -> Model:
    """Source and revision of its base; of a folder the last part, since the rest tells of a machine."""
    where, at, revision = places.get("base", "").rpartition(" at ")
    return Model(name, where, revision) if at else Model(name, PurePath(revision).name)
