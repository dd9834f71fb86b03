"""`manifest.json`: every file of a dataset with its digest, and what became of every image."""

from __future__ import annotations

import hashlib
import json
from collections import Counter
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from worker.seal.documents import document
from worker.seal.shard import Layout, Shard, ShardFile

if TYPE_CHECKING:
    from collections.abc import Iterable

    from worker.seal.run import Run

PATH = "manifest.json"
FORMAT = 1
_COPIED = (
    "number",
    "part",
    "images",
    "image_bytes",
    "first",
    "last",
    "marked",
    "redrawn",
    "redrawn_for",
    "left_out",
)
_ADDED: dict[str, Any] = {"redrawn": 0, "redrawn_for": {}}
"""What the marks of earlier releases lack."""


@dataclass(frozen=True, slots=True)
class NearFile:
    """The file that lists near-duplicates of a run, and how many it has."""

    images: int
    file: ShardFile


class Manifest:
    """Made from the completion marks of all shards, in any order; a shard without one is not in it."""

    def __init__(self, run: Run, marks: Iterable[bytes], near: NearFile | None = None) -> None:
        """Read the marks.

        Args:
            run: what was to be made.
            marks: contents of every `_stats.json`.
            near: what lies beside the manifest; None where nobody has looked.

        Raises:
            ValueError: a shard comes twice, or is of another layout than the run.
        """
        self.run = run
        self.near = near
        self._shards: dict[tuple[int, int], dict[str, Any]] = {}
        self._missing: dict[tuple[int, int], list[tuple[int, str]]] = {}
        self._brought: dict[tuple[int, int], list[int]] = {}
        for mark in marks:
            self._take(mark)

    def _take(self, mark: bytes) -> None:
        stats = _ADDED | json.loads(mark)
        place = stats["number"], stats["part"]
        shard = Shard(Layout(stats["layout"]), *place)
        if place in self._shards or shard.layout is not self.run.layout:
            raise ValueError(f"shard {shard.name} comes twice or is not of layout {self.run.layout}")
        own = ShardFile(shard.stats_path, len(mark), hashlib.sha256(mark).hexdigest())
        entry = {"shard": shard.name} | {name: stats[name] for name in _COPIED}
        self._shards[place] = entry | {"files": [*stats["files"], own]}
        self._missing[place] = [(one["ordinal"], one["outcome"]) for one in stats["missing"]]
        self._brought[place] = stats["ordinals"] or []

    def totals(self) -> dict[str, Any]:
        """Counts over all shards: what a supplement brought is no longer missing."""
        entries = self._shards.values()
        marked, reasons = Counter[str](), Counter[str]()
        for entry in entries:
            marked.update(entry["marked"])
            reasons.update(entry["redrawn_for"])
        return {
            "shards": len(entries),
            "images": sum(entry["images"] for entry in entries),
            "image_bytes": sum(entry["image_bytes"] for entry in entries),
            "marked": dict(sorted(marked.items())),
            "redrawn": sum(entry["redrawn"] for entry in entries),
            "redrawn_for": dict(sorted(reasons.items())),
            "left_out": dict(sorted(Counter(self._left_out().values()).items())),
        }

    def _left_out(self) -> dict[int, str]:
        outcomes: dict[int, str] = {}
        for place in sorted(self._shards):  # parts of a shard in their order: the last one knows
            outcomes.update(self._missing[place])
            for ordinal in self._brought[place]:
                outcomes.pop(ordinal, None)
        return outcomes

    def content(self) -> bytes:
        """The file's bytes."""
        run = self.run
        return document(
            {
                "format": FORMAT,
                "name": run.name,
                "layout": run.layout,
                "seed": run.seed,
                "fingerprint": run.fingerprint,
                "manifest_digest": run.digest,
                "manifest_images": run.images,
                "shard_samples": run.shard_samples,
                "models": run.models,
                "totals": self.totals(),
                "near_duplicates": self.near,
                "shards": [self._shards[place] for place in sorted(self._shards)],
            }
        )
