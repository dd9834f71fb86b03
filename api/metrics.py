"""`/metrics` for Prometheus."""

from fastapi import APIRouter, Response

from api.access import needs
from api.deps import Use
from latentfarm.api_keys import Scope

router = APIRouter(tags=["operations"])

CONTENT_TYPE = "text/plain; version=0.0.4; charset=utf-8"


@router.get(
    "/metrics",
    response_class=Response,
    responses={200: {"content": {"text/plain": {}}}},
    dependencies=[needs(Scope.ADMIN)],
)
def metrics(use: Use) -> Response:
    """Figures in Prometheus' text format."""
    return Response(use.figures.text(), media_type=CONTENT_TYPE)
