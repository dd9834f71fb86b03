"""What makes the pictures of a run, besides its rows: two runs of one name must agree on it."""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from latentfarm.manifests.defaults import row_defaults

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from latentfarm.manifests.checked import Adapters
    from latentfarm.manifests.request import DatasetRequest
    from latentfarm.registry import ModelEntry, Registry

_OF_THE_ENTRY = {
    "variant", "dtype", "dtypes", "bucket", "sampler", "timestep_spacing", "steps", "guidance_scale", "native_size",
}  # fmt: skip
"""Of a model's entry, besides where its files are: what weights become, and defaults that rows leave to it."""


@dataclass(frozen=True, slots=True)
class Fingerprint:
    """Canonical JSON, and its SHA-256 (32 bytes)."""

    text: str
    sha256: bytes


@dataclass(frozen=True, slots=True)
class Difference:
    """A field that two runs disagree on; None where one of them does not have it."""

    field: str
    before: Any
    after: Any

    def __str__(self) -> str:
        return f"{self.field}: {_shown(self.before)} before, {_shown(self.after)} now"


def fingerprint(
    request: DatasetRequest, *, seed: int, registry: Registry, models: Mapping[str, Adapters]
) -> Fingerprint:
    """The fingerprint of a run.

    Args:
        seed: of the run, drawn or given.
        models: that its rows use, as `Checked.models` has them.

    Raises:
        InvalidInput: a default or a model that there is not.
    """
    drawn = request.template == "random"
    parts = {
        "defaults": row_defaults(request),
        "seed": seed,
        "template": request.template,
        "template_samples": request.template_samples if drawn else None,
        "wildcards": request.wildcards if request.template != "off" else {},
        "sweep": request.sweep.model_dump(mode="json"),
        "models": {name: _model(registry.get(name), used) for name, used in models.items()},
    }
    text = json.dumps(parts, sort_keys=True, separators=(",", ":"), ensure_ascii=False)
    return Fingerprint(text, sha256_of(text))


def sha256_of(text: str) -> bytes:
    """Digest of a fingerprint, 32 bytes."""
    return hashlib.sha256(text.encode()).digest()


def difference(old: str, new: str) -> list[Difference]:
    """What has changed between two fingerprints, by dotted path, in order.

    A model, LoRA or embedding that only the new one uses is no change: rows that were appended may name it.

    Args:
        old: text of the fingerprint of the run that is there.
        new: of the one that would go on with it.
    """
    before, after = json.loads(old), json.loads(new)
    after["models"] = {name: model for name, model in after["models"].items() if name in before["models"]}
    for name, model in after["models"].items():
        for kind in ("loras", "embeddings"):
            had = before["models"][name][kind]
            model[kind] = {one: place for one, place in model[kind].items() if one in had}
    return list(_differences("", before, after))


def _differences(path: str, before: Any, after: Any) -> Iterator[Difference]:
    if not (isinstance(before, dict) and isinstance(after, dict)):
        if json.dumps(before) != json.dumps(after):  # as text: to Python true is 1
            yield Difference(path, before, after)
        return
    for name in sorted(before.keys() | after.keys()):
        yield from _differences(f"{path}.{name}" if path else name, before.get(name), after.get(name))


def _model(entry: ModelEntry, used: Adapters) -> dict[str, Any]:
    """Where the files are from, and what the entry says of the picture."""
    return {
        **entry.model_dump(mode="json", include=_OF_THE_ENTRY),
        "places": {part: str(place) for part, place in entry.places.items()},
        "loras": {name: str(entry.loras[name].place) for name in used.loras},
        "embeddings": {name: str(entry.embeddings[name].place) for name in used.embeddings},
    }


def _shown(value: Any) -> str:
    text = json.dumps(value, ensure_ascii=False)
    return text if len(text) <= 200 else f"{text[:200]}..."
