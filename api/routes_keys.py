"""API keys: create, list, revoke, rotate. Only for who has a key already: the first one comes from the command."""

from dataclasses import asdict
from http import HTTPStatus
from typing import Annotated

from fastapi import APIRouter, Path, Query, Response

from api.access import needs
from api.deps import Use
from api.limits import KeyBody, RotateBody
from api.openapi import KEY_BODY, ROTATE_BODY, problems
from latentfarm.api_keys import PREFIX, ApiKey, Scope
from latentfarm.errors import InvalidInput
from latentfarm.key_views import KeyCreated, KeyList, KeyView
from latentfarm.logs import get_logger

router = APIRouter(prefix="/v1/keys", tags=["keys"], dependencies=[needs(Scope.ADMIN, keyless=False)])

DAY_S, HOUR_S = 86_400, 3_600
Prefix = Annotated[str, Path(description="Visible part of a key.", max_length=64)]
_BAD_BODY = (
    HTTPStatus.BAD_REQUEST,
    HTTPStatus.REQUEST_ENTITY_TOO_LARGE,
    HTTPStatus.UNSUPPORTED_MEDIA_TYPE,
    HTTPStatus.UNPROCESSABLE_ENTITY,
)
_FOUND = (HTTPStatus.NOT_FOUND, HTTPStatus.UNPROCESSABLE_ENTITY)


@router.post("", status_code=201, responses=problems(*_BAD_BODY), openapi_extra=KEY_BODY)
def create(body: KeyBody, response: Response, use: Use) -> KeyCreated:
    """Makes a key. The answer shows its secret, for the only time."""
    good_s = None if body.expires_days is None else float(DAY_S * body.expires_days)
    key, text = use.keys.create(
        tenant=body.tenant, name=body.name, scopes=body.scopes, good_s=good_s, rate=body.rate
    )
    get_logger().info("key_created", key=key.prefix, tenant=key.tenant, scopes=[*key.scopes])
    return _created(key, text, response)


@router.get("", responses=problems(HTTPStatus.UNPROCESSABLE_ENTITY))
def listing(
    use: Use,
    of: Annotated[
        str | None, Query(alias="tenant", max_length=64, description="Keys of this tenant only.")
    ] = None,
    limit: Annotated[int, Query(ge=1, le=100, description="Keys on one page.")] = 100,
    after: Annotated[str | None, Query(description="`next` of the page before.")] = None,
) -> KeyList:
    """Lists keys in the order in which they were made, expired and revoked ones too, without their secrets."""
    if after is not None and not PREFIX.fullmatch(after):
        raise InvalidInput("after", "not a place in the list", "next of the page before")
    if of is not None and "\x00" in of:
        return KeyList(data=[], next=None)
    found = use.keys.listing(tenant=of, after=after, limit=limit + 1)
    shown = [_shown(key) for key in found[:limit]]
    return KeyList(data=shown, next=shown[-1].prefix if len(found) > limit else None)


@router.delete("/{prefix}", responses=problems(*_FOUND))
def revoke(prefix: Prefix, use: Use) -> KeyView:
    """Ends a key at once and for good. What was handed in with it stays."""
    key = use.keys.revoke(prefix)
    get_logger().info("key_revoked", key=key.prefix, tenant=key.tenant)
    return _shown(key)


@router.post(
    "/{prefix}/rotate",
    status_code=201,
    responses=problems(HTTPStatus.NOT_FOUND, HTTPStatus.CONFLICT, *_BAD_BODY),
    openapi_extra=ROTATE_BODY,
)
def rotate(prefix: Prefix, body: RotateBody, response: Response, use: Use) -> KeyCreated:
    """Makes a key like this one, and lets this one go on for some hours beside it."""
    key, text = use.keys.rotate(prefix, overlap_s=float(HOUR_S * body.overlap_hours), rate=body.rate)
    get_logger().info("key_rotated", key=prefix, tenant=key.tenant, to=key.prefix)
    return _created(key, text, response)


def _shown(key: ApiKey) -> KeyView:
    return KeyView(**asdict(key))


def _created(key: ApiKey, text: str, response: Response) -> KeyCreated:
    response.headers["Cache-Control"] = "no-store"
    return KeyCreated(**asdict(key), key=text)
