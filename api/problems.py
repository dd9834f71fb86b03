"""Every answer that is no success: RFC 9457 problem documents (other APIs' errors on their routes), and never a traceback."""

from collections.abc import Mapping
from http import HTTPStatus
from typing import Any

from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse
from sqlalchemy.exc import SQLAlchemyError
from sqlalchemy.exc import TimeoutError as PoolTimeoutError
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect
from starlette.routing import Match

from api import as_typed, request_ids
from api.huggingface import errors as huggingface_errors
from api.openai import errors as openai_errors
from api.replicate import errors as replicate_errors
from latentfarm.database import is_away
from latentfarm.errors import (
    Conflict,
    InvalidInput,
    MalformedJson,
    ManifestChanged,
    ManifestError,
    NotFound,
    OverQuota,
    ServiceUnavailable,
    SourceGone,
    TooMuchQueued,
    TransientError,
)
from latentfarm.logs import get_logger
from latentfarm.views import ComplaintView, ProblemView

MEDIA_TYPE = "application/problem+json"
RETRY_S = 2
PATH_TOLD = 1_000
"""Characters of a path that a problem repeats."""
METHODS = ("DELETE", "GET", "HEAD", "PATCH", "POST", "PUT")


class ProblemError(Exception):
    """An answer that a route gives in place of its own.

    Args:
        code: last part of the problem's type.
        detail: one sentence for a person.
        retry_s: seconds after which trying again may help.
        quota: that would be passed, as `QuotaView` has it.
    """

    def __init__(
        self,
        status: int,
        code: str,
        detail: str,
        *,
        errors: tuple[InvalidInput, ...] = (),
        retry_s: int | None = None,
        quota: Mapping[str, Any] | None = None,
    ) -> None:
        super().__init__(detail)
        self.status = status
        self.code = code
        self.detail = detail
        self.errors = errors
        self.quota = quota
        self.headers = {} if retry_s is None else {"Retry-After": str(retry_s)}


def refused(errors: list[InvalidInput]) -> ProblemError:
    """422 (400 for what is no JSON, 409 for a changed manifest), with every complaint; the first one makes type and detail."""
    first = errors[0]
    status = HTTPStatus.BAD_REQUEST if isinstance(first, MalformedJson) else HTTPStatus.UNPROCESSABLE_ENTITY
    if first.code == ManifestChanged.code:
        status = HTTPStatus.CONFLICT
    return ProblemError(status, first.code, str(first), errors=tuple(errors))


def answer(request: Request, problem: ProblemError) -> JSONResponse:
    """The HTTP response of a problem."""
    path = request.url.path
    if openai_errors.speaks_openai(path):
        told = {"error": openai_errors.error_of(problem)}
        return JSONResponse(told, openai_errors.status_of(problem), headers=problem.headers)
    if huggingface_errors.speaks_huggingface(path):
        return JSONResponse(huggingface_errors.error_of(problem), problem.status, headers=problem.headers)
    if replicate_errors.speaks_replicate(path):
        told = replicate_errors.problem_of(problem)
        return JSONResponse(told, problem.status, headers=problem.headers, media_type=MEDIA_TYPE)
    view = ProblemView(
        type=f"urn:latentfarm:problem:{problem.code}",
        title=HTTPStatus(problem.status).phrase,
        status=problem.status,
        detail=problem.detail,
        instance=path[:PATH_TOLD],
        errors=[_complaint(error) for error in problem.errors],
    )
    body = view.model_dump(mode="json", exclude={"quota"})
    if problem.quota is not None:
        body["quota"] = dict(problem.quota)
    if path.startswith(openai_errors.SHARED):
        # RFC 9457 lets a document have further members, and OpenAI's clients look for this one.
        body["error"] = openai_errors.error_of(problem)
    return JSONResponse(body, problem.status, headers=problem.headers, media_type=MEDIA_TYPE)


def install(app: FastAPI) -> None:
    """Makes every exception of the routes a problem."""
    kinds = (
        ProblemError,
        InvalidInput,
        NotFound,
        Conflict,
        SourceGone,
        TooMuchQueued,
        ServiceUnavailable,
        TransientError,
    )
    for kind in kinds:
        app.add_exception_handler(kind, _expected)
    app.add_exception_handler(RequestValidationError, _bad_parameters)
    app.add_exception_handler(HTTPException, _http)
    app.add_exception_handler(SQLAlchemyError, _database)
    app.add_exception_handler(ClientDisconnect, _left)
    app.add_exception_handler(Exception, _unexpected)


def _complaint(error: InvalidInput) -> ComplaintView:
    line = error.line if isinstance(error, ManifestError) else None
    return ComplaintView(
        field=error.field, code=error.code, message=error.message, allowed=error.allowed, line=line
    )


def _expected(request: Request, error: Exception) -> JSONResponse:
    return answer(request, _problem(error))


def _problem(error: Exception) -> ProblemError:
    match error:
        case ProblemError():
            return error
        case InvalidInput():
            return refused([error])
        case NotFound():
            return ProblemError(HTTPStatus.NOT_FOUND, "not_found", str(error))
        case Conflict() | SourceGone():
            return _conflict(error)
        case TooMuchQueued():
            return _too_much(error)
        case _:
            get_logger().warning("service_away", error=str(error))
            return _away("a service that is needed for this does not answer")


def _too_much(error: TooMuchQueued) -> ProblemError:
    if not isinstance(error, OverQuota):
        return ProblemError(HTTPStatus.TOO_MANY_REQUESTS, "too_much_queued", str(error), retry_s=error.wait_s)
    # What no wait can mend is no 429: stock clients would come again. And it is no fault of the farm: no 507.
    status = HTTPStatus.TOO_MANY_REQUESTS if error.wait_s else HTTPStatus.FORBIDDEN
    return ProblemError(status, "quota_exceeded", str(error), retry_s=error.wait_s or None, quota=error.quota)


def _conflict(error: Conflict | SourceGone) -> ProblemError:
    return ProblemError(HTTPStatus.CONFLICT, error.code, str(error), retry_s=1 if error.retryable else None)


def _away(detail: str) -> ProblemError:
    return ProblemError(HTTPStatus.SERVICE_UNAVAILABLE, "service_unavailable", detail, retry_s=RETRY_S)


def _bad_parameters(request: Request, error: Exception) -> JSONResponse:
    """FastAPI's complaints about path, query and header parameters."""
    found = error.errors() if isinstance(error, RequestValidationError) else []
    complaints = [InvalidInput(".".join(map(str, entry["loc"][1:])), entry["msg"]) for entry in found]
    return answer(request, refused(complaints))


def _http(request: Request, error: Exception) -> JSONResponse:
    """Unknown paths and methods."""
    status = error.status_code if isinstance(error, HTTPException) else HTTPStatus.INTERNAL_SERVER_ERROR
    code = HTTPStatus(status).phrase.lower().replace(" ", "_")
    problem = ProblemError(
        status,
        code,
        f"{request.method[:PATH_TOLD]} {request.url.path[:PATH_TOLD]}: {HTTPStatus(status).phrase}",
    )
    problem.headers = dict(getattr(error, "headers", None) or {})
    if status == HTTPStatus.METHOD_NOT_ALLOWED:
        problem.headers["Allow"] = ", ".join(_methods(request))
    return answer(request, problem)


def _methods(request: Request) -> list[str]:
    """All methods of a path. The framework tells those of the first route that has it."""
    asked = {method: {**request.scope, "method": method} for method in METHODS}
    return [
        method
        for method, scope in asked.items()
        if any(route.matches(scope)[0] is Match.FULL for route in request.app.routes)
    ]


def _left(request: Request, _: Exception) -> JSONResponse:
    """The client has gone before its body had come. Nobody reads this, and no log is filled with it."""
    return answer(request, ProblemError(HTTPStatus.BAD_REQUEST, "incomplete", "the body did not come"))


def _database(request: Request, error: Exception) -> JSONResponse:
    if is_away(error) or isinstance(error, PoolTimeoutError):
        get_logger().warning("database_away", error=type(error).__name__)
        return answer(request, _away("the database does not answer"))
    return _unexpected(request, error)


def _unexpected(request: Request, error: Exception) -> JSONResponse:
    request_id = request.scope.get(request_ids.NAME, "")
    get_logger().error("request_failed", path=_path(request), request_id=request_id, exc_info=error)
    problem = ProblemError(HTTPStatus.INTERNAL_SERVER_ERROR, "internal", "the API failed; its log says why")
    # What middleware would add: this answer is given outside of it.
    problem.headers |= {request_ids.HEADER: request_id, as_typed.HEADER: as_typed.AS_TYPED}
    return answer(request, problem)


def _path(request: Request) -> str:
    """Where a request went, without the leave that a signed link is: whoever reads logs must not get it."""
    token = request.scope.get("path_params", {}).get("token")
    return request.url.path if token is None else request.url.path.replace(token, "{token}")
