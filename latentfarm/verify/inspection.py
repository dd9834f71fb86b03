"""Looks at one object: is it there, is it what was put, can it be read."""

from __future__ import annotations

import hashlib
import io
from typing import TYPE_CHECKING

from PIL import Image

from latentfarm.errors import InvalidInput
from latentfarm.verify.trouble import Kind, Trouble

if TYPE_CHECKING:
    from latentfarm.repository.auditing import Stored
    from latentfarm.storage import S3Store

_FORMATS = ("PNG", "JPEG", "WEBP")


def inspect(store: S3Store, what: Stored) -> Trouble | None:
    """What is wrong with an object; None when it is sound. Never reads more than SQL says that it has.

    Raises:
        TransientError: the store did not answer.
    """
    ref = what.ref
    if ref is None:
        return Trouble(
            Kind.MISSING, f"render {what.render_id}", "succeeded, and no row tells of its image", what
        )
    try:
        data = store.read(ref.key, most=ref.size)
    except InvalidInput:
        return Trouble(Kind.ALTERED, ref.key, f"has more than {ref.size} bytes", what)
    if data is None:
        return Trouble(Kind.MISSING, ref.key, "is not in the bucket", what)
    if len(data) != ref.size:
        return Trouble(Kind.ALTERED, ref.key, f"has {len(data)} bytes and not {ref.size}", what)
    if hashlib.sha256(data).digest() != ref.sha256:
        return Trouble(Kind.ALTERED, ref.key, "has another SHA-256", what)
    error = None if what.kind == "latents" else _unreadable(data)
    return None if error is None else Trouble(Kind.UNREADABLE, ref.key, error, what)


def _unreadable(data: bytes) -> str | None:
    """Why the bytes are no picture; only asked of bytes that the farm has put itself."""
    try:
        with Image.open(io.BytesIO(data), formats=_FORMATS) as image:
            image.load()
    except (OSError, ValueError, SyntaxError) as error:
        return f"cannot be decoded: {error}"
    return None
