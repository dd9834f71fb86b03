"""Whether this process lives, and whether it can serve."""

from typing import Annotated

from fastapi import APIRouter, Depends, Response
from pydantic import BaseModel, Field

from api.access import sees_all
from api.deps import Use

router = APIRouter(tags=["operations"])


class Alive(BaseModel):
    """The process answers."""

    status: str = "ok"


class Check(BaseModel):
    """What one look has found."""

    name: str = Field(description="`database`, `migrations`, `redis` or `object store`.")
    ok: bool
    detail: str = Field(
        description="What was seen; empty for who has no key with the scope admin and needs one."
    )


class Ready(BaseModel):
    """Whether all that a request may need is there."""

    ready: bool
    checks: list[Check]


@router.get("/healthz")
async def healthz() -> Alive:
    """Answers as long as the process does; asks nobody."""
    return Alive()


@router.get("/readyz", responses={503: {"model": Ready, "description": "Something is missing."}})
def readyz(response: Response, use: Use, in_detail: Annotated[bool, Depends(sees_all)]) -> Ready:
    """Asks every service. 503 when one is missing, or does not answer in time.

    What was seen there, such as versions and names, is told to admins, and on loopback where no key is needed.
    """
    found = use.readiness.ask()
    checks = [
        Check(name=finding.name, ok=finding.ok, detail=finding.detail if in_detail else "")
        for finding in found
    ]
    ready = all(check.ok for check in checks)
    response.status_code = 200 if ready else 503
    return Ready(ready=ready, checks=checks)
