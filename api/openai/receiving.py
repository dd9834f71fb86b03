"""A file that comes in: by a form, to a file of the disk, and from there to the object store."""

from __future__ import annotations

import tempfile
from typing import TYPE_CHECKING

from latentfarm.errors import InvalidInput, ServiceUnavailable
from latentfarm.ids import new_id
from latentfarm.keys import file_key
from latentfarm.records import ObjectRef
from latentfarm.repository import files, quotas

if TYPE_CHECKING:
    from uuid import UUID

    from sqlalchemy import Connection

    from api.deps import Services
    from api.openai.forms import Form, Part
    from latentfarm.repository.files import StoredFile

MAX_FILE = 200 * 1024**2
"""Bytes of a file of requests."""
MAX_FORM = MAX_FILE + 65_536
UPLOAD_S = 600.0
"""Further seconds that a form may take to come in."""
KEPT_S = 30 * 86_400
"""Seconds that a file is kept unless it says otherwise, and at most."""
LEAST_S = 3_600
_JSONL = "application/jsonl"
_EXPIRES = {"expires_after[anchor]", "expires_after[seconds]"}
_FIELDS = {"file", "purpose"} | _EXPIRES


def receive(use: Services, form: Form, *, tenant: str) -> StoredFile:
    """Takes the file of a form. Its content is looked at when a batch is made of it.

    Raises:
        InvalidInput: fields are missing, unknown, twice or wrong.
        OverQuota: the tenant keeps as many files, or bytes, as it may.
        TransientError: the object store does not answer.
    """
    parts = _parts(form)
    file, kept_s = parts["file"], _kept_s(form, parts)
    name, size = _filename(file), file.end - file.start
    if not 1 <= size <= MAX_FILE:
        raise InvalidInput("file", f"has {size} bytes", f"1 to {MAX_FILE}")
    file_id = new_id()

    def plan(connection: Connection) -> None:
        quotas.take_file(connection, tenant, size)
        files.plan(connection, file_id, tenant=tenant, purpose="batch", filename=name, size=size)

    use.repository.transact(plan)
    with tempfile.TemporaryFile(prefix="latentfarm-") as copy:
        digest = form.copy(file, copy)
        use.store.put_new(ObjectRef(file_key(file_id), digest, size), copy, _JSONL)
    return _stored(use, file_id, kept_s)


def _stored(use: Services, file_id: UUID, kept_s: float) -> StoredFile:
    found = use.repository.transact(lambda c: files.stored(c, file_id, kept_s=kept_s))
    if found is None:
        raise ServiceUnavailable("the file took too long to reach the object store")
    return found


def _parts(form: Form) -> dict[str, Part]:
    found: dict[str, Part] = {}
    for part in form.parts:
        if part.name not in _FIELDS:
            raise InvalidInput(part.name[:64], "is no field of this form", ", ".join(sorted(_FIELDS)))
        if part.name in found:
            raise InvalidInput(part.name, "comes twice", "each field once")
        if part.file != (part.name == "file"):
            raise InvalidInput(part.name, "is a file" if part.file else "is no file", "one file: file")
        found[part.name] = part
    for name in ("file", "purpose"):
        if name not in found:
            raise InvalidInput(name, "required, but missing", "file and purpose")
    if form.text(found["purpose"]) != "batch":
        raise InvalidInput("purpose", "files are for batches alone here", "batch")
    return found


def _kept_s(form: Form, parts: dict[str, Part]) -> float:
    given = {name: form.text(parts[name]) for name in _EXPIRES & parts.keys()}
    if not given:
        return KEPT_S
    if given.get("expires_after[anchor]") != "created_at":
        raise InvalidInput("expires_after.anchor", "is no usable anchor", "created_at")
    seconds = given.get("expires_after[seconds]", "")
    if not (
        seconds.isascii() and seconds.isdigit() and len(seconds) <= 8 and LEAST_S <= int(seconds) <= KEPT_S
    ):
        raise InvalidInput("expires_after.seconds", "is no usable time", f"{LEAST_S} to {KEPT_S}")
    return int(seconds)


def _filename(part: Part) -> str:
    name = part.filename or ""
    if not name.isprintable() or not 1 <= len(name) <= 255 or "\ufffd" in name:
        raise InvalidInput("file", "has no usable name", "1 to 255 printable characters")
    return name
