"""The pictures that a job starts from: kept bytes -> what the engine takes."""

from __future__ import annotations

import io
import threading
from collections import OrderedDict
from typing import TYPE_CHECKING

from PIL import Image, ImageOps

from latentfarm.errors import InputError, LatentsError
from latentfarm.references import MAX_INPUT_PIXELS, digests
from worker.engine.order import Inputs

if TYPE_CHECKING:
    from collections.abc import Callable

    from latentfarm.records import Claimed, ObjectRef
    from latentfarm.spec import RenderSpec

KEPT = 4
"""Decoded pairs that are kept: the images of one job share theirs."""


class Pictures:
    """Gets and decodes pictures. Thread-safe.

    Args:
        fetch: reads an object; raises LatentsError when it is gone or is not what was put.
    """

    def __init__(self, fetch: Callable[[ObjectRef], bytes]) -> None:
        self._fetch = fetch
        self._decoded: OrderedDict[tuple[bytes | None, bytes | None], Inputs] = OrderedDict()
        self._lock = threading.Lock()

    def of(self, spec: RenderSpec, claimed: Claimed) -> Inputs:
        """Image and mask of a spec.

        Raises:
            InputError: one of them is gone or ruined; trying again cannot help.
        """
        wanted = digests(spec)
        pair = wanted.get("image"), wanted.get("mask_image")
        with self._lock:
            if pair in self._decoded:
                self._decoded.move_to_end(pair)
                return self._decoded[pair]
        opened = {field: self._open(field, claimed.inputs.get(sha256)) for field, sha256 in wanted.items()}
        if "image" not in opened:
            raise InputError("mask_image: there is no image to go with it")
        # Through RGB as diffusers' load_image, so that the grey of a coloured mask is the same.
        mask = opened["mask_image"].convert("L") if "mask_image" in opened else None
        found = Inputs(opened["image"], mask)
        with self._lock:
            self._decoded[pair] = found
            while len(self._decoded) > KEPT:
                self._decoded.popitem(last=False)
        return found

    def _open(self, field: str, ref: ObjectRef | None) -> Image.Image:
        """RGB, upright as its EXIF says: what diffusers' load_image makes of the file."""
        if ref is None:
            raise InputError(f"{field}: the picture is no longer kept")
        try:
            data = self._fetch(ref)
            with Image.open(io.BytesIO(data), formats=["PNG", "JPEG", "WEBP"]) as image:
                if image.width * image.height > MAX_INPUT_PIXELS:
                    raise InputError(f"{field}: the picture has too many pixels")
                return ImageOps.exif_transpose(image).convert("RGB")
        except (LatentsError, OSError, ValueError, SyntaxError, Image.DecompressionBombError) as error:
            raise InputError(f"{field}: the picture cannot be read: {error}") from error
