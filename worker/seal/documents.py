"""The JSON files of a dataset: readable, and the same bytes for the same content."""

from __future__ import annotations

import dataclasses
import json
from typing import Any


def document(content: dict[str, Any]) -> bytes:
    """The bytes of a JSON file; records become objects."""
    return (json.dumps(content, default=_plain, ensure_ascii=False, indent=1) + "\n").encode()


def _plain(value: object) -> Any:
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return {one.name: getattr(value, one.name) for one in dataclasses.fields(value)}
    raise TypeError(f"{type(value).__name__} has no JSON")
