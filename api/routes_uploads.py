"""Leave to upload a picture that jobs start from, or the manifest of a dataset. The bytes go to the object store, not through the API."""

from http import HTTPStatus

from fastapi import APIRouter

from api.access import needs
from api.deps import Tenant, Use
from api.limits import UploadBody
from api.openapi import UPLOAD_BODY, problems
from latentfarm.api_keys import Scope
from latentfarm.views import UploadView

router = APIRouter(prefix="/v1/uploads", tags=["uploads"])

_BAD_BODY = (
    HTTPStatus.BAD_REQUEST,
    HTTPStatus.REQUEST_ENTITY_TOO_LARGE,
    HTTPStatus.UNSUPPORTED_MEDIA_TYPE,
    HTTPStatus.UNPROCESSABLE_ENTITY,
)


@router.post(
    "",
    status_code=201,
    responses=problems(*_BAD_BODY),
    openapi_extra=UPLOAD_BODY,
    dependencies=[needs(Scope.SUBMIT)],
)
def offer(body: UploadBody, use: Use, tenant: Tenant) -> UploadView:
    """Gives a link for one PUT of so many bytes. Put the file there, then name the id in a spec or a dataset."""
    ticket, link = use.uploads.offer(body.size, tenant=tenant, purpose=body.purpose)
    return UploadView(id=ticket.id, url=link, size=ticket.size, expires_at=ticket.expires_at)
