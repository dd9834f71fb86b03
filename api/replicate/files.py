"""Files of Replicate's clients: uploads of the farm that came through the API, and how inputs name them."""

from __future__ import annotations

from datetime import datetime  # noqa: TC003 - pydantic needs the type at run time
from typing import TYPE_CHECKING, Any
from uuid import UUID

from pydantic import Field

from latentfarm.errors import InvalidInput, NotFound, NotSupported
from latentfarm.predictions import PREFIX
from latentfarm.views import View

if TYPE_CHECKING:
    from fastapi import Request

    from api.openai.forms import Form
    from latentfarm.records import KeptUpload

_CONTENT = "content"
_NAMELESS = "data:application/octet-stream;base64,"
_PICTURE = "one PNG, JPEG or WebP file"


class ReplicateFile(View):
    """A picture that was uploaded, for the inputs `image` and `mask`."""

    id: str = Field(description="Id of the upload.")
    name: str = Field(description="Its id and format: what the client calls its files is not kept.")
    content_type: str = Field(description="As found in the file itself.")
    size: int = Field(description="Bytes.")
    etag: str = Field(description="SHA-256 of it.")
    checksums: dict[str, str] = Field(description="`sha256` of it, in hexadecimal.")
    metadata: dict[str, Any] = Field({}, description="Always empty.")
    created_at: datetime = Field(description="When it came.")
    expires_at: datetime = Field(description="Until when predictions may name it.")
    urls: dict[str, str] = Field(description="`get`: where it is shown, and what inputs name it by.")


class ReplicateFiles(View):
    """Files, newest first."""

    previous: str | None = Field(None, description="Always null.")
    next: str | None = Field(None, description="Always null.")
    results: list[ReplicateFile] = Field(description="At most 100 files that have not expired.")


def place_of(request: Request) -> str:
    """What stands before the id in the URL of a file, as the client that asks sees it."""
    return f"{str(request.base_url).rstrip('/')}{PREFIX}/files/"


def own_file(value: Any, request: Request) -> Any:
    """The id of the upload that an input's URL leads to, if it leads to one of ours; else the input as it is.

    A data URL of no known kind is what the client makes of a file without a name: it is looked at as a picture.
    """
    place = place_of(request)
    if isinstance(value, str) and value.startswith(_NAMELESS):
        return f"data:image/png;base64,{value.removeprefix(_NAMELESS)}"
    if not isinstance(value, str) or not value.startswith(place):
        return value
    try:
        return str(id_of(value.removeprefix(place)))
    except NotFound:
        return value


def id_of(text: str) -> UUID:
    """Reads the id of a file.

    Raises:
        NotFound: it is no UUID, so there can be no such file.
    """
    try:
        return UUID(text)
    except ValueError as error:
        raise NotFound(f"no file {text[:64]!r}") from error


def content_of(form: Form) -> bytes:
    """The one file of a form.

    Raises:
        InvalidInput: it is missing, or there is more.
        NotSupported: metadata came with it.
    """
    for part in form.parts:
        if part.name == "metadata":
            raise NotSupported("metadata", "is not kept", "leave it out")
        if part.name != _CONTENT or not part.file:
            raise InvalidInput(part.name[:64], "is no part of an upload", f"{_CONTENT}: {_PICTURE}")
    if len(form.parts) != 1:
        raise InvalidInput(_CONTENT, f"{len(form.parts)} files", _PICTURE)
    return form.content(form.parts[0])


def file_view(kept: KeptUpload, place: str) -> ReplicateFile:
    """A file as an answer shows it."""
    return ReplicateFile(
        id=str(kept.id),
        name=f"{kept.id}.{kept.format}",
        content_type=f"image/{kept.format}",
        size=kept.size,
        etag=kept.sha256.hex(),
        checksums={"sha256": kept.sha256.hex()},
        created_at=kept.created_at,
        expires_at=kept.expires_at,
        urls={"get": f"{place}{kept.id}"},
    )
