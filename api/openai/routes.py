"""OpenAI's routes for images: each submits one job, waits for it, and answers with its images."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

from fastapi import APIRouter, Depends, Request, Response
from starlette.concurrency import run_in_threadpool

from api.access import needs
from api.deps import IdempotencyKey, Services, Tenant, Use  # noqa: TC001 - FastAPI needs the types at run time
from api.limits import checked, read_json
from api.openai import answers
from api.openai.document import EDIT_BODY, GENERATION_BODY, RESPONSES
from api.openai.edits import origin_of, request_of
from api.openai.events import ImageEvents
from api.openai.forms import read_form
from api.openai.requests import GenerationRequest, ImagesRequest
from api.openai.translation import model_of, shown_quality, to_spec
from api.openai.waiting import Wait
from latentfarm import strict_json
from latentfarm.api_keys import Scope

if TYPE_CHECKING:
    from uuid import UUID

    from latentfarm.lifecycle import Submitted

router = APIRouter(prefix="/v1/images", tags=["OpenAI"])

#: Clients of OpenAI's send some token always: on the API's own machine one that is no key of ours counts as none.
ASKED = needs(Scope.SUBMIT, any_bearer=True)


async def read_generation(request: Request) -> GenerationRequest:
    """The body of a request for images made of words; refused as specs are."""
    return checked(strict_json.loads(await read_json(request)), GenerationRequest)


GenerationBody = Annotated[GenerationRequest, Depends(read_generation)]


@router.post(
    "/generations",
    responses=RESPONSES,
    response_class=Response,
    openapi_extra=GENERATION_BODY,
    dependencies=[ASKED],
)
async def generate(
    body: GenerationBody, request: Request, use: Use, tenant: Tenant, key: IdempotencyKey
) -> Response:
    """Makes images of words, and answers once they are made. OpenAI's `images.generate`."""

    def submit() -> Submitted:
        return use.farm.submit(to_spec(body, use.registry), tenant=tenant, key=key)

    submitted = await run_in_threadpool(submit)
    wait = _wait(use, request, body, submitted.job_id, tenant, key)
    return await _answer(use, wait, body, submitted, kind="image_generation")


@router.post(
    "/edits", responses=RESPONSES, response_class=Response, openapi_extra=EDIT_BODY, dependencies=[ASKED]
)
async def edit(request: Request, use: Use, tenant: Tenant, key: IdempotencyKey) -> Response:
    """Makes images of a picture, or of the part of it where a mask is transparent. OpenAI's `images.edit`."""
    async with read_form(request) as form:
        body = request_of(form)

        def submit() -> Submitted:
            origin = origin_of(form, use.registry.get(model_of(body)))
            spec = to_spec(body, use.registry, origin)
            return use.farm.submit(spec, tenant=tenant, key=key, brought=form, scale=True)

        submitted = await run_in_threadpool(submit)
    wait = _wait(use, request, body, submitted.job_id, tenant, key)
    return await _answer(use, wait, body, submitted, kind="image_edit")


def _wait(
    use: Services, request: Request, asked: ImagesRequest, job_id: UUID, tenant: str, key: str | None
) -> Wait:
    previews = asked.partial_images or 0
    return Wait(
        use,
        request,
        job_id,
        tenant=tenant,
        keyed=key is not None,
        previews=previews,
        streamed=bool(asked.stream),
    )


async def _answer(
    use: Services, wait: Wait, asked: ImagesRequest, submitted: Submitted, *, kind: str
) -> Response:
    quality = shown_quality(asked)
    if asked.stream:
        return _marked(ImageEvents(wait, use.store, kind=kind, quality=quality), submitted)
    async with wait:
        page = await wait.ended()
    link_s = use.settings.link_s if asked.response_format == "url" else None
    look = answers.Look(quality=quality, link_s=link_s)
    return _marked(await run_in_threadpool(answers.images, page, look, use.store), submitted)


def _marked(response: Response, submitted: Submitted) -> Response:
    if submitted.replayed:
        response.headers["Idempotency-Replayed"] = "true"
    return response
