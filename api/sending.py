"""The bytes of an image, through the API and in small pieces."""

from itertools import chain

from fastapi.responses import StreamingResponse

from latentfarm.records import ObjectRef
from latentfarm.storage import S3Store


def send(store: S3Store, ref: ObjectRef, name: str) -> StreamingResponse:
    """A finished image.

    Args:
        name: of the file, without its ending; made of ids, never of what a user said.

    Raises:
        TransientError: the object store does not answer.
    """
    extension = ref.key.rsplit(".", 1)[1]
    pieces = store.stream(ref.key)
    # The first piece before the status: an object store that is away must answer 503, not 200.
    first = next(pieces, b"")
    headers = {
        "Content-Length": str(ref.size),
        "Content-Disposition": f'inline; filename="{name}.{extension}"',
        "ETag": f'"{ref.sha256.hex()}"',
        "Cache-Control": "private, max-age=3600, immutable",
    }
    return StreamingResponse(chain([first], pieces), media_type=f"image/{extension}", headers=headers)
