"""What `image` and `mask_image` of a spec may be: an upload, a data URL, an https URL, or a digest."""

from __future__ import annotations

import base64
import binascii
import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, LiteralString
from uuid import UUID

from pydantic import BeforeValidator, WithJsonSchema
from pydantic_core import PydanticCustomError

from latentfarm.errors import InvalidInput

if TYPE_CHECKING:
    from latentfarm.spec import RenderSpec

INPUT_FIELDS = ("image", "mask_image")
MAX_INPUT_BYTES = 20 * 1024 * 1024
MAX_MANIFEST_BYTES = 2**31 - 1
"""Of an uploaded manifest."""
MAX_INPUT_PIXELS = 16 * 1024 * 1024
MAX_DATA_BYTES = 700 * 1024
MAX_DATA_CHARS = MAX_DATA_BYTES * 4 // 3 + 4
"""Of base64."""
MAX_URL_CHARS = 2_048
INPUT_FORMATS = ("png", "jpeg", "webp")
ALLOWED = (
    "the id of an upload, a data URL of at most 700 KiB, an https URL, or sha256:<64 hexadecimal digits>"
)
PICTURE_ERROR: LiteralString = "picture"
"""Type of pydantic's error for what names no picture."""
_NO_PICTURE: LiteralString = "is no picture; for a file, Client.upload(path) gives an id"

_DIGEST = re.compile(r"sha256:([0-9a-f]{64})\Z")
_DATA = re.compile(r"data:image/(?:png|jpeg|webp);base64,", re.IGNORECASE)
_UPLOAD = re.compile(r"[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}\Z", re.IGNORECASE)


@dataclass(frozen=True, slots=True)
class Upload:
    """What was uploaded under an id."""

    id: UUID


@dataclass(frozen=True, slots=True)
class Data:
    """Bytes that came in the spec itself."""

    data: bytes


@dataclass(frozen=True, slots=True)
class Remote:
    """An https URL, not looked at any closer."""

    url: str


@dataclass(frozen=True, slots=True)
class Content:
    """An input that the farm has already: SHA-256 of the file, 32 bytes."""

    sha256: bytes


Reference = Upload | Data | Remote | Content


def is_reference(text: str) -> bool:
    """Whether a text has the look of a reference; a path of a file has not."""
    lowered = text[:8].lower()
    return lowered.startswith(("data:", "https://", "http://", "sha256:")) or bool(_UPLOAD.match(text))


def _look(value: object) -> object:
    """Paths are the usual mistake, as text or as objects: the error says what to do with them."""
    if isinstance(value, str) and is_reference(value):
        return value
    shown = repr(str(value)[:40])
    raise PydanticCustomError(PICTURE_ERROR, "{shown} " + _NO_PICTURE, {"shown": shown})


_LONGEST = len("data:image/jpeg;base64,") + MAX_DATA_CHARS
Picture = Annotated[str, BeforeValidator(_look), WithJsonSchema({"type": "string", "maxLength": _LONGEST})]
"""A field of a spec that names a picture. Has the look of a reference; `parse` reads it."""


def parse(field: str, text: str) -> Reference:
    """Reads a reference.

    Args:
        field: the field of the spec that it stands in.

    Raises:
        InvalidInput: it is none; names the field and what is allowed.
    """
    digest = _DIGEST.match(text)
    if digest is not None:
        return Content(bytes.fromhex(digest.group(1)))
    if _UPLOAD.match(text):
        return Upload(UUID(text))
    if text[:5].lower() == "data:":
        return Data(_decode(field, text))
    if text[:8].lower() == "https://":
        if len(text) > MAX_URL_CHARS:
            raise InvalidInput(field, "the URL is too long", f"at most {MAX_URL_CHARS} characters")
        return Remote(text)
    if text[:7].lower() == "http://":
        raise InvalidInput(field, "http is not encrypted", "an https URL")
    raise InvalidInput(field, f"{text[:40]!r} {_NO_PICTURE}", ALLOWED)


def content(sha256: bytes) -> str:
    """The reference of stored content, as specs keep it."""
    return f"sha256:{sha256.hex()}"


def digests(spec: RenderSpec) -> dict[str, bytes]:
    """SHA-256 of the inputs of a spec whose references are resolved, by field."""
    found = {}
    for field in INPUT_FIELDS:
        text = getattr(spec, field)
        if text is None:
            continue
        reference = parse(field, text)
        if not isinstance(reference, Content):
            raise InvalidInput(field, "was not resolved to its content", "sha256:...")
        found[field] = reference.sha256
    return found


def _decode(field: str, text: str) -> bytes:
    head = _DATA.match(text)
    if head is None:
        raise InvalidInput(
            field, f"{text[:40]!r} is no data URL of an image", "data:image/png;base64,..., jpeg or webp"
        )
    body = text[head.end() :]
    allowed = f"at most {MAX_DATA_BYTES // 1024} KiB; upload what is larger"
    if len(body) > MAX_DATA_CHARS:
        raise InvalidInput(field, "the data URL is too large", allowed)
    try:
        data = base64.b64decode(body, validate=True)
    except (binascii.Error, ValueError) as error:
        raise InvalidInput(field, f"the data URL is not base64: {error}") from error
    if len(data) > MAX_DATA_BYTES:
        raise InvalidInput(field, "the data URL is too large", allowed)
    return data
