"""`README.md`: the dataset card, as the Hugging Face Hub reads it and people do."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from worker.seal.shard import SPLIT, Layout

if TYPE_CHECKING:
    from worker.seal.manifest import Manifest, NearFile
    from worker.seal.run import Model, Run

PATH = "README.md"
_SIZES = (
    (10**3, "n<1K"),
    (10**4, "1K<n<10K"),
    (10**5, "10K<n<100K"),
    (10**6, "100K<n<1M"),
    (10**7, "1M<n<10M"),
)
_LARGER = "10M<n<100M"
_FEATURE = {Layout.WEBDATASET: "png", Layout.IMAGEFOLDER: "image", Layout.PARQUET: "image"}


def card(manifest: Manifest) -> bytes:
    """The card of a dataset.

    The header of YAML tells `load_dataset` which files are samples, so that the index does not disturb it.
    """
    run, totals = manifest.run, manifest.totals()
    parts = [
        _header(run, totals["images"]),
        f"# {run.name}",
        _intro(totals, manifest.near),
        _loading(run),
        _table(run, totals),
    ]
    return ("\n\n".join(parts) + "\n").encode()


def _header(run: Run, images: int) -> str:
    licences = sorted({model.licence or "unknown" for model in run.models}) or ["unknown"]
    size = next((name for limit, name in _SIZES if images < limit), _LARGER)
    lines = [
        "license:",
        *(f"- {json.dumps(licence)}" for licence in licences),
        f"pretty_name: {json.dumps(run.name)}",
        "task_categories:",
        "- text-to-image",
        "size_categories:",
        f"- {size}",
        "tags:",
        "- synthetic",
        "- stable-diffusion-xl",
        f"- {run.layout}" if run.layout is Layout.WEBDATASET else "- latentfarm",
        "configs:",
        "- config_name: default",
        "  data_files:",
        f"  - split: {SPLIT}",
        f"    path: data/{SPLIT}-*.{run.layout.extension}",
    ]
    return "\n".join(["---", *lines, "---"])


def _intro(totals: dict[str, Any], near: NearFile | None) -> str:
    left_out = totals["left_out"]
    missing = ", ".join(f"{count} {outcome}" for outcome, count in left_out.items()) or "none"
    marked = ", ".join(f"{count} {mark}" for mark, count in totals["marked"].items()) or "none"
    return (
        f"{totals['images']} images made by Stable Diffusion XL from text, in {totals['shards']} shards.\n"
        f"Left out: {missing}. Marked: {marked}. {_redrawn(totals)}Each `_stats.json` in `index/` lists what its shard lacks, and why;\n"
        "`manifest.json` has the digest of every file."
    ) + (f"\n{near.images} images look like an earlier one of the run: `{near.file.path}`." if near else "")


def _redrawn(totals: dict[str, Any]) -> str:
    if not totals["redrawn"]:
        return ""
    reasons = ", ".join(f"{count} {reason}" for reason, count in totals["redrawn_for"].items())
    return f"Rendered again with another seed: {totals['redrawn']} of them, for {reasons}. "


def _loading(run: Run) -> str:
    code = [
        "```python",
        "from datasets import load_dataset",
        "",
        f'images = load_dataset(".", split="{SPLIT}")  # column `{_FEATURE[run.layout]}`',
        f'rows = load_dataset("parquet", data_files="index/*.parquet", split="{SPLIT}")  # all that is known of each',
        "```",
    ]
    return "\n".join(["## Reading", "", *code])


def _table(run: Run, totals: dict[str, Any]) -> str:
    rows = {
        **{f"model `{model.name}`": _model(model) for model in run.models},
        **{f"`{name}`": value for name, value in run.settings.items()},
        "seed": f"{run.seed}; image n has this + n, unless its row has its own or it was rendered again",
        "images asked for": str(run.images),
        "bytes of images": str(totals["image_bytes"]),
        "layout": f"{run.layout}, up to {run.shard_samples} samples a shard",
        "fingerprint": f"`{run.fingerprint}`",
        "digest of the manifest": f"`{run.digest}`",
    }
    lines = [f"| {_cell(name)} | {_cell(value)} |" for name, value in rows.items()]
    return "\n".join(["## Generation", "", "| | |", "| --- | --- |", *lines])


def _model(model: Model) -> str:
    facts = {
        "": model.source or "unknown source",
        "revision ": model.revision,
        "hash ": model.model_hash,
        "refiner hash ": model.refiner_hash,
        "licence ": model.licence or "not stated",
    }
    return ", ".join(f"{label}{value}" for label, value in facts.items() if value)


def _cell(text: str) -> str:
    """Text that cannot end its cell."""
    return " ".join(text.split()).replace("\\", "\\\\").replace("|", "\\|")
