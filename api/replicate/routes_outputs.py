"""Images behind signed links: the bytes, for whoever holds the link."""

import time
from http import HTTPStatus
from typing import Annotated, Any

from fastapi import APIRouter, Path, Response

from api.deps import Use
from api.problems import ProblemError
from api.replicate.document import problems
from api.replicate.telling import signer_of
from api.sending import send
from latentfarm.errors import NotFound
from latentfarm.predictions import PREFIX, file_name
from latentfarm.retention import told

router = APIRouter(prefix=f"{PREFIX}/outputs", tags=["Replicate"])

_RESPONSES: dict[int | str, dict[str, Any]] = {
    200: {"description": "The file.", "content": {"image/*": {}}},
    **problems(HTTPStatus.FORBIDDEN, HTTPStatus.NOT_FOUND, HTTPStatus.GONE, keyed=False),
}


@router.get("/{token}/{file}", responses=_RESPONSES, response_class=Response)
def output(
    token: Annotated[str, Path(description="Signed; out of a prediction's `output`.")],
    file: Annotated[str, Path(description="Name of the file, as the link has it.")],
    use: Use,
) -> Response:
    """Sends an image. Needs no key: the link itself is the leave, and 403 when its time is over."""
    linked = signer_of(use).read(token, time.time())
    if linked is None:
        raise ProblemError(
            HTTPStatus.FORBIDDEN, "forbidden", "this link is none of ours, or its time is over"
        )
    found = use.repository.image(linked.job_id, tenant=linked.tenant, index=linked.index)
    if found is not None and found.gone_at is not None:
        raise ProblemError(HTTPStatus.GONE, "gone", told("the image of this link", found.gone_at))
    if found is None or found.ref is None or file != file_name(found):
        raise NotFound("no such image")
    return send(use.store, found.ref, f"{linked.job_id}-{found.index:04d}")
