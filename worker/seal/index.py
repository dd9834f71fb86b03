"""The index of a shard: all that is known of each image, without the image, to be searched by the million."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pyarrow as pa
import pyarrow.parquet as pq

from worker.seal.row import compact, phash_text, size_of

if TYPE_CHECKING:
    from worker.seal.piece import Piece
    from worker.seal.stream import Counted

GROUP_ROWS = 1_000
_TEXT, _WHOLE, _REAL, _FLAG = pa.string(), pa.int64(), pa.float64(), pa.bool_()
_SIZE, _TIME = pa.list_(_WHOLE), pa.timestamp("us", tz="UTC")

PARAMETERS: dict[str, pa.DataType] = {
    "model": _TEXT,
    "prompt": _TEXT,
    "prompt_2": _TEXT,
    "negative_prompt": _TEXT,
    "negative_prompt_2": _TEXT,
    "prompt_weighting": _TEXT,
    "width": _WHOLE,
    "height": _WHOLE,
    "num_inference_steps": _WHOLE,
    "guidance_scale": _REAL,
    "guidance_rescale": _REAL,
    "eta": _REAL,
    "clip_skip": _WHOLE,
    "timesteps": pa.list_(_WHOLE),
    "sigmas": pa.list_(_REAL),
    "sampler": _TEXT,
    "sigma_schedule": _TEXT,
    "timestep_spacing": _TEXT,
    "rescale_betas_zero_snr": _FLAG,
    "original_size": _SIZE,
    "target_size": _SIZE,
    "crops_coords_top_left": _SIZE,
    "negative_original_size": _SIZE,
    "negative_target_size": _SIZE,
    "negative_crops_coords_top_left": _SIZE,
    "image": _TEXT,
    "mask_image": _TEXT,
    "strength": _REAL,
    "padding_mask_crop": _WHOLE,
    "refiner": pa.struct(
        {
            "mode": _TEXT,
            "high_noise_frac": _REAL,
            "strength": _REAL,
            "num_inference_steps": _WHOLE,
            "guidance_scale": _REAL,
            "aesthetic_score": _REAL,
            "negative_aesthetic_score": _REAL,
        }
    ),
    "loras": pa.list_(pa.struct({"name": _TEXT, "weight": _REAL})),
    "embeddings": pa.list_(_TEXT),
    "output": pa.struct({"format": _TEXT, "quality": _WHOLE}),
    "reproducible": _FLAG,
}
"""Every field of `RenderSpec.picture`, with a type that holds where one shard has no value of it at all."""

_BEFORE: dict[str, pa.DataType] = {
    "id": _TEXT,
    "key": _TEXT,
    "ordinal": _WHOLE,
    "file": _TEXT,
    "file_name": _TEXT,
    "seed": _WHOLE,
    "bytes": _WHOLE,
    "sha256": _TEXT,
}
_AFTER: dict[str, pa.DataType] = {
    "metadata": _TEXT,
    "model_hash": _TEXT,
    "refiner_hash": _TEXT,
    "worker": _TEXT,
    "device": _TEXT,
    "versions": _TEXT,
    "started_at": _TIME,
    "finished_at": _TIME,
    "seconds": _REAL,
    "starts": _WHOLE,
    "non_finite": _FLAG,
    "mean": _REAL,
    "deviation": _REAL,
    "uniform": _FLAG,
    "dark": _FLAG,
    "sharpness": _REAL,
    "phash": _TEXT,
    "colour": _TEXT,
    "duplicate_of": _WHOLE,
    "redraws": _WHOLE,
    "rejected": pa.list_(pa.struct({"seed": _WHOLE, "reasons": pa.list_(_TEXT)})),
    "exhausted": _FLAG,
    "scores": _TEXT,
}
_OF_FACTS = (
    "model_hash",
    "refiner_hash",
    "worker",
    "device",
    "versions",
    "started_at",
    "finished_at",
    "seconds",
    "starts",
    "non_finite",
)
_OF_QUALITY = ("mean", "deviation", "uniform", "dark", "sharpness")


def index_schema() -> pa.Schema:
    """Columns of every index."""
    return pa.schema(_BEFORE | PARAMETERS | _AFTER)


def index_row(piece: Piece, path: str) -> dict[str, Any]:
    """One row; a measure that was not taken is null.

    `file` is `path`, below the dataset's folder, `file_name` the image's in it; `metadata` and `scores`
    are JSON text, `phash` and `colour` hexadecimal; `seed` is the one of the image that is there, after `redraws`
    other ones, which `rejected` names with what was found.
    """
    width, height = size_of(piece)
    measured = {} if piece.quality is None else {n: getattr(piece.quality, n) for n in _OF_QUALITY}
    return {
        **piece.picture,
        "id": piece.id,
        "key": piece.key,
        "ordinal": piece.ordinal,
        "file": path,
        "file_name": piece.file_name,
        "seed": piece.seed,
        "bytes": len(piece.image),
        "sha256": piece.sha256,
        "width": width,
        "height": height,
        "metadata": compact(piece.metadata),
        **{name: getattr(piece.facts, name) for name in _OF_FACTS},
        **measured,
        "phash": phash_text(piece),
        "colour": None if piece.quality is None else f"{piece.quality.colour:06x}",
        "duplicate_of": piece.duplicate_of,
        "redraws": len(piece.rejected),
        "rejected": [dict(one) for one in piece.rejected],
        "exhausted": piece.exhausted,
        "scores": compact(piece.scores),
    }


class IndexWriter:
    """Writes the index of one shard, `GROUP_ROWS` rows at a time."""

    def __init__(self, out: Counted) -> None:
        self._schema = index_schema()
        self._writer = pq.ParquetWriter(pa.PythonFile(out, mode="w"), self._schema, compression="ZSTD")
        self._rows: list[dict[str, Any]] = []

    def add(self, piece: Piece, path: str) -> None:
        """Take the row of a piece, and the path of the file that has its image."""
        self._rows.append(index_row(piece, path))
        if len(self._rows) >= GROUP_ROWS:
            self._write()

    def close(self) -> None:
        """Write the rest and the footer."""
        if self._rows:
            self._write()
        self._writer.close()

    def _write(self) -> None:
        self._writer.write_table(pa.Table.from_pylist(self._rows, schema=self._schema))
        self._rows = []
