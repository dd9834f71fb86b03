"""All of Replicate's routes."""

from fastapi import APIRouter

from api.replicate import routes_files, routes_models, routes_outputs, routes_predictions, routes_webhooks

router = APIRouter()
for _module in (routes_predictions, routes_models, routes_files, routes_outputs, routes_webhooks):
    router.include_router(_module.router)
