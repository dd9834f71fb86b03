"""What stands beside an image inside a shard: one row, the same in every layout.

Stock readers guess the types of JSON from the first samples, and fail at the first that differs. So every
row has every column, none is null, and what differs in shape (spec, metadata) is JSON text.
What differs between two runs of one manifest (worker, times) is left to the index.
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Mapping

    from worker.seal.piece import Piece

COLUMNS = {
    "id": "string",
    "text": "string",
    "negative_prompt": "string",
    "model": "string",
    "model_hash": "string",
    "seed": "int64",
    "width": "int64",
    "height": "int64",
    "num_inference_steps": "int64",
    "guidance_scale": "float64",
    "sampler": "string",
    "sha256": "string",
    "uniform": "bool",
    "dark": "bool",
    "sharpness": "float64",
    "phash": "string",
    "spec": "string",
    "metadata": "string",
}
"""Names and types, as Arrow and `datasets` call them. `text` is the caption; `phash` is empty where there is none."""


def row_of(piece: Piece) -> dict[str, Any]:
    """The row of a piece: each of `COLUMNS`, in their order."""
    picture, quality = piece.picture, piece.quality
    width, height = size_of(piece)
    return {
        "id": piece.id,
        "text": piece.caption,
        "negative_prompt": picture.get("negative_prompt") or "",
        "model": picture["model"],
        "model_hash": piece.facts.model_hash,
        "seed": piece.seed,
        "width": width,
        "height": height,
        "num_inference_steps": picture["num_inference_steps"],
        "guidance_scale": float(picture.get("guidance_scale") or 0.0),
        "sampler": picture.get("sampler") or "",
        "sha256": piece.sha256,
        "uniform": bool(quality and quality.uniform),
        "dark": bool(quality and quality.dark),
        "sharpness": float(quality.sharpness) if quality else 0.0,
        "phash": phash_text(piece) or "",
        "spec": compact(picture),
        "metadata": compact(piece.metadata),
    }


def size_of(piece: Piece) -> tuple[int, int]:
    """`(width, height)` of the file where it was measured, else what was asked for; 0 where neither is known."""
    if piece.quality is not None:
        return piece.quality.width, piece.quality.height
    return piece.picture.get("width") or 0, piece.picture.get("height") or 0


def phash_text(piece: Piece) -> str | None:
    """Sixteen hexadecimal digits; None where there is no hash."""
    if piece.quality is None or piece.quality.phash is None:
        return None
    return f"{piece.quality.phash:016x}"


def compact(content: Mapping[str, Any]) -> str:
    """JSON on one line, keys sorted, so that equal content is equal text."""
    return json.dumps(dict(content), ensure_ascii=False, sort_keys=True, separators=(",", ":"))
