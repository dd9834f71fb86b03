"""Uploads of the client: leave from the API, bytes to the object store."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO

import httpx

from latentfarm.errors import InvalidInput, ServiceUnavailable
from latentfarm.references import MAX_INPUT_BYTES
from latentfarm.views import UploadView

if TYPE_CHECKING:
    from latentfarm.client_http import Http


def upload(http: Http, picture: str | Path | bytes) -> str:
    """Puts a picture where jobs find it; see `Client.upload`."""
    data = picture if isinstance(picture, bytes) else _read(Path(picture))
    if not 1 <= len(data) <= MAX_INPUT_BYTES:
        raise InvalidInput("file", f"{len(data)} bytes", f"1 to {MAX_INPUT_BYTES}")
    answer = http.request("POST", "/v1/uploads", json={"size": len(data)})
    offer = UploadView.model_validate_json(answer.content)
    put(http, offer.url, data)
    return str(offer.id)


def _read(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        raise InvalidInput("file", f"cannot read {path}: {error.strerror}") from error


def put(http: Http, link: str, data: bytes | BinaryIO) -> None:
    """Sends what an upload was offered for, again while that can help; a file as a stream, from its start.

    Raises:
        ServiceUnavailable: the object store was away, or refused it.
    """
    where = httpx.URL(link).copy_with(query=None)
    for last_try in http.tries():
        try:
            if not isinstance(data, bytes):
                data.seek(0)
            status = httpx.put(link, content=data, timeout=http.client.timeout).status_code
        except httpx.TransportError as error:
            if last_try:
                raise ServiceUnavailable(
                    f"no answer from the object store at {where}: {error or type(error).__name__};"
                    " LATENTFARM_S3_PUBLIC_URL of the farm must be an address that users reach"
                ) from error
            continue
        if status < 300:
            return
        if status < 500 or last_try:
            raise ServiceUnavailable(f"the object store at {where} answered {status} to an upload")
