"""The same pictures through a whole farm: queue, SQL, engine, PNG, object store."""

from __future__ import annotations

import json
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Any

from benchmarks.measuring.farm import farm
from latentfarm.client import Client
from latentfarm.states import Stage

if TYPE_CHECKING:
    from latentfarm.registry import ModelEntry
    from latentfarm.spec import RenderSpec
    from worker.engine.model import LoadedModel

_SPAN = """
    SELECT count(*), EXTRACT(EPOCH FROM max(ended_at) - min(started_at)) FROM attempts a
    JOIN renders r ON r.id = a.render_id WHERE r.job_id = %s AND a.outcome = 'succeeded'
"""
LONGEST_S = 3600.0


def through_a_farm(
    entry: ModelEntry, weights: Path, spec: RenderSpec, images: int, rounds: int, device: str
) -> list[float]:
    """Images per second of each round, from the first claim to the last commit.

    Args:
        weights: a folder in diffusers layout.
        images: of one job; a job before the first round is not counted.
    """
    with tempfile.TemporaryDirectory(prefix="card-") as place:
        folder = Path(place)
        registry = folder / "models.toml"
        registry.write_text(_registry(entry, weights))
        settings = {"LATENTFARM_MODELS_FILE": str(registry), "LATENTFARM_MODELS": entry.name}
        found = []
        with (
            farm(folder / "farm", settings, workers=["base"], devices=device) as running,
            Client(running.url) as client,
            running.connect() as connection,
        ):
            given = spec.model_dump(mode="json", exclude_defaults=True)
            for _ in range(rounds + 1):
                job = client.submit({**given, "num_images": images, "lane": "bulk"})
                client.wait(job, timeout=LONGEST_S)
                row = connection.execute(_SPAN, (job.id,)).fetchone()
                if row is None or row[0] != images:
                    raise RuntimeError(f"{row} in place of {images} images")
                found.append(images / float(row[1]))
        return found[1:]


def save(model: LoadedModel, folder: Path) -> Path:
    """The base's weights as a folder in diffusers layout."""
    pipeline: Any = model.pipelines[Stage.BASE]
    pipeline.save_pretrained(folder, safe_serialization=True)
    return folder


def _registry(entry: ModelEntry, weights: Path) -> str:
    speed = {
        "compile": entry.speed.compile,
        "attention": entry.speed.attention,
        "fused_projections": entry.speed.fused_projections,
        "cuda_graphs": entry.speed.cuda_graphs,
        "warm_sizes": [list(entry.native_size)],
    }
    fields = {
        "base": str(weights),
        "dtype": entry.dtype,
        "bucket": entry.bucket,
        "native_size": list(entry.native_size),
        "min_size": entry.min_size,
    }
    lines = [f"[models.{entry.name}]", *(f"{name} = {json.dumps(value)}" for name, value in fields.items())]
    lines += [f"[models.{entry.name}.speed]"]
    lines += [f"{name} = {json.dumps(value)}" for name, value in speed.items()]
    return "\n".join(lines) + "\n"
