"""tiny in the place of the models that docs/guide.md names: in its code, and in its entries of models.toml."""

from __future__ import annotations

import json
import re
import tomllib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterable
    from pathlib import Path

    from benchmarks.guidebook.page import Section

SMALLER = 8
"""1024 pixels become 128."""
HUB = {
    "stabilityai/stable-diffusion-xl-base-1.0": "base",
    "stabilityai/stable-diffusion-xl-refiner-1.0": "refiner",
    "stabilityai/sdxl-turbo": "base",
}
"""Folders of tiny, by the hub id that they stand for."""
_ELSEWHERE = {"torch.float16": "torch.float32", '    variant="fp16",\n': "", '"cuda"': '"cpu"'}
_DROPPED = {"revision", "refiner_revision", "unet_revision", "variant", "dtype"}
_SIZE = re.compile(r"(?<![\w.])\d{2,4}(?![\w.])")


def on_this_machine(code: str, tiny: Path, url: str) -> str:
    """Code of the page as it can be run here: on a CPU, with tiny, against the farm at `url`."""
    code = _SIZE.sub(lambda found: str(_smaller(int(found[0]))), code)
    for name, folder in HUB.items():
        code = code.replace(f'"{name}"', json.dumps(str(tiny / folder)))
    for text, other in _ELSEWHERE.items():
        code = code.replace(text, other)
    return code.replace("Client()", f"Client({json.dumps(url)})")


def _smaller(number: int) -> int:
    """Pixels; numbers below 64 are steps and seeds."""
    return number // SMALLER if number >= 64 else number


def registry(sections: Iterable[Section], tiny: Path) -> str:
    """The page's entries as one models.toml: tiny's weights, buckets of one sample, as stock has them."""
    models: dict[str, Any] = {}
    for section in sections:
        for block in section.blocks:
            if block.kind == "models":
                for name, fields in tomllib.loads(block.code)["models"].items():
                    models.setdefault(name, {}).update(fields)
    return "".join(_table(f"models.{name}", _entry(fields, tiny)) for name, fields in models.items())


def _entry(fields: dict[str, Any], tiny: Path) -> dict[str, Any]:
    kept = {name: value for name, value in fields.items() if name not in _DROPPED}
    for part in ("base", "refiner"):
        if kept.get(part) in HUB:
            kept[part] = str(tiny / HUB[kept[part]])
    native = [_smaller(side) for side in kept.get("native_size", (1024, 1024))]
    return {**kept, "bucket": 1, "native_size": native, "min_size": 64, "max_size": 256}


def _table(name: str, fields: dict[str, Any]) -> str:
    """A table of TOML. Plain values are written as in JSON."""
    plain = [f"{key} = {json.dumps(value)}\n" for key, value in fields.items() if not isinstance(value, dict)]
    inner = [_table(f"{name}.{key}", value) for key, value in fields.items() if isinstance(value, dict)]
    return "".join([f"[{name}]\n", *plain, *inner])
