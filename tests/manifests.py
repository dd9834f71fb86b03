"""One pass over a manifest, over models whose files are nowhere, with parts in memory."""

from __future__ import annotations

import hashlib
import json
from typing import Any

import pytest

from latentfarm.errors import InvalidInput, ManifestError
from latentfarm.manifests import checking
from latentfarm.manifests.parts import read_part
from latentfarm.manifests.request import DatasetRequest
from latentfarm.manifests.row import Row
from latentfarm.records import ObjectRef
from latentfarm.registry import ModelEntry, Registry

ENTRY = ModelEntry(
    name="tiny",
    base="/nowhere/base",
    refiner="/nowhere/refiner",
    native_size=(100 * 8, 125 * 8),
    min_size=64,
    max_images=20,
    loras={"ink": {"file": "/nowhere/ink.safetensors"}},
)
REGISTRY = Registry({"tiny": ENTRY, "toy": ENTRY.model_copy(update={"name": "toy", "sampler": "ddim"})})
SEED = 1_000


class Check:
    """One pass, and the parts that it puts."""

    def __init__(self, rows: Any, *, seed: int = SEED, limit: int = 100_000, **options: Any) -> None:
        given = {name: options.pop(name) for name in ("previous", "units") if name in options}
        asked = {"name": "a", "manifest": {"key": "a.jsonl"}} | options
        self.data: list[bytes] = []
        if isinstance(rows, list) and rows and isinstance(rows[0], dict):
            rows = [Row(number, fields) for number, fields in enumerate(rows, start=1)]
        self.found = checking.check(
            DatasetRequest.model_validate_json(json.dumps(asked)),
            rows,
            registry=REGISTRY,
            seed=seed,
            put_part=self.put,
            limit=limit,
            **given,
        )
        self.samples = [sample for data in self.data for sample in read_part(data)]

    def put(self, number: int, data: bytes) -> ObjectRef:
        assert number == len(self.data)
        self.data.append(data)
        return ObjectRef(f"part-{number}", hashlib.sha256(data).digest(), len(data))

    @property
    def prompts(self) -> list[str]:
        return [json.loads(sample.picture)["prompt"] for sample in self.samples]


def refused(rows: Any, error: type[InvalidInput] = ManifestError, **options: Any) -> InvalidInput:
    with pytest.raises(error) as caught:
        Check(rows, **options)
    return caught.value
