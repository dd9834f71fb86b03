"""Finished images as OpenAI's clients read them. Bytes pass from the object store to the client in small pieces."""

from __future__ import annotations

import base64
import json
from dataclasses import dataclass
from itertools import chain
from typing import TYPE_CHECKING, Any

from fastapi.responses import Response, StreamingResponse

from latentfarm.errors import TransientError

if TYPE_CHECKING:
    from collections.abc import Iterator

    from api.openai.waiting import Page
    from latentfarm.records import Image, ObjectRef
    from latentfarm.storage import S3Store

#: What clients expect of every event, and what is not counted here.
NO_USAGE = {
    "input_tokens": 0,
    "input_tokens_details": {"image_tokens": 0, "text_tokens": 0},
    "output_tokens": 0,
    "total_tokens": 0,
}


@dataclass(frozen=True, slots=True)
class Look:
    """What a request wants to see of its images.

    Attributes:
        link_s: seconds that links are to be good for; None: the images themselves.
    """

    quality: str
    link_s: int | None


def terms(page: Page, quality: str) -> dict[str, Any]:
    """What is told of all images together."""
    spec = page.job.spec
    return {
        "background": "opaque",
        "output_format": spec["output"]["format"],
        "quality": quality,
        "size": f"{spec['width']}x{spec['height']}",
    }


def images(page: Page, look: Look, store: S3Store) -> Response:
    """The answer to a request whose job ended well.

    Raises:
        TransientError: the object store does not answer.
    """
    head = {
        "created": int(page.job.created_at.timestamp()),
        **terms(page, look.quality),
        "job": str(page.job.id),
    }
    parts: list[bytes | ObjectRef] = [json.dumps(head)[:-1].encode() + b', "data": [']
    for number, image in enumerate(page.images):
        parts.append(b", " if number else b"")
        parts += _shown(image, look, store)
    parts.append(b"]}")
    pieces = _pieces(parts, store)
    # What comes first needs the object store; if that is away it must be 503 and not a 200 that breaks off.
    first = b"".join(next(pieces) for _ in range(min(len(parts), 4)))
    length = sum(len(part) if isinstance(part, bytes) else encoded_size(part.size) for part in parts)
    headers = {"Content-Length": str(length), "Cache-Control": "no-store"}
    return StreamingResponse(chain([first], pieces), media_type="application/json", headers=headers)


def in_base64(pieces: Iterator[bytes]) -> Iterator[bytes]:
    """A file in base64, piece by piece."""
    left = b""
    for piece in pieces:
        joined = left + piece
        whole = len(joined) - len(joined) % 3
        left = joined[whole:]
        yield base64.b64encode(joined[:whole])
    yield base64.b64encode(left)


def _shown(image: Image, look: Look, store: S3Store) -> list[bytes | ObjectRef]:
    ref = there(image)
    if look.link_s is not None:
        link = store.link(ref.key, seconds=look.link_s)
        return [json.dumps({"url": link, "seed": image.seed}).encode()]
    return [json.dumps({"seed": image.seed})[:-1].encode() + b', "b64_json": "', ref, b'"}']


def there(image: Image) -> ObjectRef:
    """Where an image is.

    Raises:
        TransientError: its file was lost, and is being made again.
    """
    if image.ref is None:
        raise TransientError(f"image {image.index} is not there")
    return image.ref


def _pieces(parts: list[bytes | ObjectRef], store: S3Store) -> Iterator[bytes]:
    for part in parts:
        if isinstance(part, bytes):
            yield part
        else:
            yield from in_base64(store.stream(part.key))


def encoded_size(size: int) -> int:
    """Bytes of the base64 of so many."""
    return (size + 2) // 3 * 4
