"""Files and folders of models that would run code in whoever reads them as some libraries do."""

from __future__ import annotations

import gzip
import io
import json
import os
import pickle
import tarfile
import zipfile
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path


class Fires:
    """Leaves a file behind when it is unpickled."""

    def __init__(self, canary: Path) -> None:
        self._canary = canary

    def __reduce__(self) -> tuple[Any, tuple[str]]:
        return os.system, (f"touch '{self._canary}'",)


def weights(canary: Path) -> Iterator[tuple[str, bytes]]:
    """Ten ways to write a pickle that fires, some of them dressed up as safetensors."""
    fires = Fires(canary)
    for protocol in (0, 2, 4, 5):
        yield f"pickle, protocol {protocol}", pickle.dumps({"w": fires}, protocol)
    for zipped in (True, False):
        file = io.BytesIO()
        torch.save({"w": fires}, file, _use_new_zipfile_serialization=zipped)
        yield f"torch, {'zip' if zipped else 'legacy'}", file.getvalue()
    plain = pickle.dumps(fires)
    yield "gzip of a pickle", gzip.compress(plain)
    file = io.BytesIO()
    np.save(file, np.array([fires], dtype=object), allow_pickle=True)
    yield "numpy of objects", file.getvalue()
    file = io.BytesIO()
    with tarfile.open(fileobj=file, mode="w") as archive:
        member = tarfile.TarInfo("../../data.pkl")
        member.size = len(plain)
        archive.addfile(member, io.BytesIO(plain))
    yield "tar that climbs", file.getvalue()
    head = json.dumps(
        {
            "__metadata__": {"format": "pickle"},
            "w": {"dtype": "U8", "shape": [len(plain)], "data_offsets": [0, len(plain)]},
        }
    ).encode()
    yield "safetensors of a pickle", len(head).to_bytes(8, "little") + head + plain


def archive(canary: Path) -> bytes:
    """A zip as torch writes it, by hand."""
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w") as made:
        made.writestr("archive/data.pkl", pickle.dumps(Fires(canary)))
        made.writestr("archive/version", "3\n")
    return file.getvalue()


def code(canary: Path) -> str:
    """A module that fires when it is imported."""
    return f"open({str(canary)!r}, 'w').close()\nclass Evil:\n    pass\nclass EvilPipeline:\n    pass\n"


_INDEX: dict[str, dict[str, Any]] = {
    "pipeline class": {"_class_name": ["pipeline", "EvilPipeline"]},
    "component module": {"unet": ["evil", "Evil"]},
    "scheduler module": {"scheduler": ["evil", "Evil"]},
}
_AUTO = {"auto_map": {"AutoModel": "modeling_evil.Evil", "AutoConfig": "evil.Evil"}}
_CONFIGS: dict[str, dict[str, dict[str, Any]]] = {
    "auto map": {f"{part}/config.json": _AUTO for part in ("unet", "vae", "text_encoder", "text_encoder_2")},
    "tokenizer": {
        "tokenizer/tokenizer_config.json": {
            "auto_map": {"AutoTokenizer": ["tokenization_evil.Evil", None]},
            "tokenizer_class": "Evil",
        }
    },
    "class names": {
        "unet/config.json": {"_class_name": "evil.Evil"},
        "scheduler/scheduler_config.json": {"_class_name": "Evil"},
    },
}
WAYS = ("files alone", "custom pipeline", *_INDEX, *_CONFIGS)


def seduce(folder: Path, canary: Path, which: str) -> None:
    """Makes a folder of a model ask for code of its own, in one of the ways that libraries know."""
    index = json.loads((folder / "model_index.json").read_text())
    for name in ("pipeline", "evil", "modeling_evil", "tokenization_evil", "__init__"):
        (folder / f"{name}.py").write_text(code(canary))
        for part in ("unet", "vae", "text_encoder", "tokenizer", "scheduler"):
            (folder / part / f"{name}.py").write_text(code(canary))
    index |= _INDEX.get(which, {})
    if which == "custom pipeline":
        index |= {"custom_pipeline": str(folder)}
    for file, fields in _CONFIGS.get(which, {}).items():
        path = folder / file
        path.write_text(json.dumps(json.loads(path.read_text()) | fields))
    (folder / "model_index.json").write_text(json.dumps(index))
