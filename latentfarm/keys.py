"""Names of objects in the bucket. Made from ids, fences and digests only, never from user text.

    v1/latents/<render>/<fence>.safetensors    stage-one latents, until `keep_latents` is over
    v1/images/<render>/<fence>.<format>        a finished image
    v1/checkpoints/<render>/<fence>-<step>.safetensors    a half-done render, until it is further or final
    v1/uploads/<id>                            what a user sends by a link, until the upload expires
    v1/inputs/<sha256>                         a picture that jobs start from, once for each content
    v1/files/<id>                              a file that a client has sent, or that is kept of a batch
    v1/spool/<dataset>/<part>-<sha256>.gz      the checked rows of a dataset
    v1/datasets/<dataset>/...                  its shards, and the files at the top

Two claims of one render have different fences, so neither can overwrite the other's object.
"""

import re
from uuid import UUID

PREFIX = "v1/"
WORKERS_WRITE = ("images", "latents", "checkpoints", "datasets")
"""Folders in which a worker puts what it makes, and deletes what a shard holds by then."""
WORKERS_READ = (*WORKERS_WRITE, "inputs", "spool")
"""Folders that a worker reads. It lists none, and nothing of `uploads` is its business."""


def latents_key(render_id: int, fence: int) -> str:
    """Where the latents of one claim of the base stage lie."""
    return f"{PREFIX}latents/{render_id}/{fence}.safetensors"


def is_latents(key: str) -> bool:
    """Whether it is one of `latents_key`."""
    return key.startswith(f"{PREFIX}latents/")


def image_key(render_id: int, fence: int, extension: str) -> str:
    """Where the image made under one claim lies. `extension` is one of the output formats."""
    return f"{PREFIX}images/{render_id}/{fence}.{extension}"


def checkpoint_key(render_id: int, fence: int, step: int) -> str:
    """Where the state of one claim after so many steps lies."""
    return f"{PREFIX}checkpoints/{render_id}/{fence}-{step}.safetensors"


def upload_key(upload_id: UUID) -> str:
    """Where the link of an upload leads."""
    return f"{PREFIX}uploads/{upload_id}"


def file_key(file_id: UUID) -> str:
    """Where a file of a client lies."""
    return f"{PREFIX}files/{file_id}"


def input_key(sha256: bytes) -> str:
    """Where a picture with that digest (32 bytes) lies."""
    return f"{PREFIX}inputs/{sha256.hex()}"


def spool_key(dataset_id: UUID, number: int, sha256: bytes) -> str:
    """Where a part of a dataset's spool lies. By content: a manifest that has grown has another last part."""
    return f"{spool_prefix(dataset_id)}{number:06d}-{sha256.hex()[:16]}.gz"


def spool_prefix(dataset_id: UUID) -> str:
    """What the keys of a dataset's spool begin with."""
    return f"{PREFIX}spool/{dataset_id}/"


def dataset_prefix(dataset_id: UUID) -> str:
    """What the keys of a dataset's files begin with."""
    return f"{PREFIX}datasets/{dataset_id}/"


def dataset_key(dataset_id: UUID, path: str, *, fence: int | None = None) -> str:
    """Where a file of a dataset lies.

    Args:
        path: below the dataset's folder, made of the numbers of shards.
        fence: of a claim whose file must have a name of its own.
    """
    if fence is not None:
        stem, dot, ending = path.rpartition(".")
        path = f"{stem}.f{fence}{dot}{ending}"
    return dataset_prefix(dataset_id) + path


_RENDER = re.compile(rf"{PREFIX}(?:latents|images)/([1-9]\d{{0,18}})/[1-9]\d{{0,9}}\.[a-z]+")
_UPLOAD = re.compile(rf"{PREFIX}uploads/([0-9a-f]{{8}}(?:-[0-9a-f]{{4}}){{3}}-[0-9a-f]{{12}})")
_FILE = re.compile(rf"{PREFIX}files/([0-9a-f]{{8}}(?:-[0-9a-f]{{4}}){{3}}-[0-9a-f]{{12}})")
_DATASET = re.compile(rf"{PREFIX}(?:spool|datasets)/([0-9a-f]{{8}}(?:-[0-9a-f]{{4}}){{3}}-[0-9a-f]{{12}})/.+")
_INPUT = re.compile(rf"{PREFIX}inputs/([0-9a-f]{{64}})")


def render_of(key: str) -> int | None:
    """The render whose latents or image lie there; None for a key of another kind."""
    found = _RENDER.fullmatch(key)
    return found and int(found[1])


def upload_of(key: str) -> UUID | None:
    """The upload that lies there; None for a key of another kind."""
    found = _UPLOAD.fullmatch(key)
    return found and UUID(found[1])


def file_of(key: str) -> UUID | None:
    """The file of a client that lies there; None for a key of another kind."""
    found = _FILE.fullmatch(key)
    return found and UUID(found[1])


def input_of(key: str) -> bytes | None:
    """SHA-256 of the picture that lies there; None for a key of another kind."""
    found = _INPUT.fullmatch(key)
    return found and bytes.fromhex(found[1])


def dataset_of(key: str) -> UUID | None:
    """The dataset whose file, or part of its spool, lies there; None for a key of another kind."""
    found = _DATASET.fullmatch(key)
    return found and UUID(found[1])
