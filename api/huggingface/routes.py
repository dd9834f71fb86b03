"""Hugging Face's inference for images: submits one job, waits for it, and answers with the bytes of its image."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

from fastapi import APIRouter, Path, Request, Response
from starlette.concurrency import run_in_threadpool

from api.access import needs
from api.deps import IdempotencyKey, Tenant, Use  # noqa: TC001 - FastAPI needs the types at run time
from api.huggingface.document import INFERENCE_BODY, RESPONSES
from api.huggingface.receiving import read_inference
from api.huggingface.translation import to_spec
from api.openai.answers import there
from api.openai.waiting import Wait
from api.sending import send
from latentfarm.api_keys import Scope
from latentfarm.errors import NotFound

if TYPE_CHECKING:
    from latentfarm.lifecycle import Submitted

router = APIRouter(prefix="/huggingface", tags=["Hugging Face"])

#: The client sends the token of the machine, if there is one: on the API's own machine one that is no key of ours counts as none.
ASKED = needs(Scope.SUBMIT, any_bearer=True)


@router.post(
    "/models/{model}",
    responses=RESPONSES,
    response_class=Response,
    openapi_extra=INFERENCE_BODY,
    dependencies=[ASKED],
)
async def infer(
    model: Annotated[str, Path(description="A name in the registry.")],
    request: Request,
    use: Use,
    tenant: Tenant,
    key: IdempotencyKey,
) -> Response:
    """Makes one image of words, or of a picture, and answers with it once it is made.

    `text_to_image` and `image_to_image` of huggingface_hub's `InferenceClient`, given this URL as its model.
    """
    async with read_inference(request) as body:
        if model not in use.registry.entries:
            raise NotFound(f"no model {model[:64]!r}; there are: {', '.join(sorted(use.registry.entries))}")

        def submit() -> Submitted:
            spec, brought = to_spec(body.asked, model, body.picture)
            return use.farm.submit(spec, tenant=tenant, key=key, brought=brought, scale=True)

        submitted = await run_in_threadpool(submit)
    async with Wait(use, request, submitted.job_id, tenant=tenant, keyed=key is not None) as wait:
        page = await wait.ended()
    image = page.images[0]
    answer = await run_in_threadpool(send, use.store, there(image), f"{page.job.id}-0000")
    answer.headers["X-Latentfarm-Job"] = str(page.job.id)
    answer.headers["X-Latentfarm-Seed"] = str(image.seed)
    if submitted.replayed:
        answer.headers["Idempotency-Replayed"] = "true"
    return answer
