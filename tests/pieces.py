"""Pieces of a dataset for tests: real files of small pictures, captions that are hard on readers."""

from __future__ import annotations

import hashlib
import io
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from latentfarm.registry import load_registry
from latentfarm.spec import RenderSpec
from latentfarm.validation import complete
from tests.drawing import drawn_picture
from worker.seal.piece import Facts, Piece
from worker.seal.quality import measure

ENTRY = load_registry(Path(__file__).parents[1] / "models" / "models.toml").get("tiny")
CAPTIONS = (
    "a red ball",
    "красный круг 红色 🎈",
    'quotes " and \\ and, commas',
    "two\nlines\u2028and a third",
    "2024-01-01",
    "",
)
START = datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)


def image_file(seed: int, kind: str = "png", **options: Any) -> bytes:
    """A small drawn picture, other for each seed."""
    buffer = io.BytesIO()
    drawn_picture(seed).save(buffer, kind, **options)
    return buffer.getvalue()


def piece(ordinal: int, **fields: Any) -> Piece:
    """One piece; every third has a field that the others lack."""
    image = fields.pop("image", None) or image_file(ordinal)
    more = {"negative_prompt": "blue", "clip_skip": 1} if ordinal % 3 == 2 else {}
    spec = RenderSpec(prompt=CAPTIONS[ordinal % len(CAPTIONS)], **more)
    facts = Facts(
        worker="w1",
        device="cpu",
        model_hash="ab" * 32,
        versions="torch 2",
        started_at=START,
        finished_at=START + timedelta(seconds=2),
        seconds=1.5,
    )
    usual: dict[str, Any] = {
        "ordinal": ordinal,
        "id": f"id/{ordinal}.x",
        "image": image,
        "sha256": hashlib.sha256(image).hexdigest(),
        "format": "png",
        "picture": complete(spec, ENTRY).picture(),
        "seed": 2**53 - 1 - ordinal,
        "facts": facts,
        "metadata": {"origin": "tests"} if ordinal % 2 else {},
        "quality": measure(image),
    }
    return Piece(**usual | fields)


def pieces(*ordinals: int) -> list[Piece]:
    """Pieces of these ordinals."""
    return [piece(ordinal) for ordinal in ordinals]
