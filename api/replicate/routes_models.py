"""The models of the registry, where Replicate's clients look for them."""

from datetime import datetime
from http import HTTPStatus
from typing import Annotated

from fastapi import APIRouter, Path, Request

from api.deps import Services, Use
from api.replicate.document import problems
from api.replicate.models import (
    ReplicateModel,
    ReplicateModelPage,
    VersionPage,
    VersionView,
    created_at,
    entry_at,
    model_view,
    version_view,
)
from api.replicate.routes_predictions import READER, Model, Owner
from latentfarm.errors import NotFound
from latentfarm.predictions import PREFIX

router = APIRouter(prefix=f"{PREFIX}/models", tags=["Replicate"])

_MISSING = problems(HTTPStatus.NOT_FOUND)


@router.get("", responses=problems(), dependencies=[READER])
def listing(request: Request, use: Use) -> ReplicateModelPage:
    """Lists all models. Replicate's `models.list`."""
    base = str(request.base_url).rstrip("/")
    models = use.registry.entries.values()
    return ReplicateModelPage(results=[model_view(entry, base, _created(use)) for entry in models])


@router.get("/{owner}/{model}", responses=_MISSING, dependencies=[READER])
def show(owner: Owner, model: Model, request: Request, use: Use) -> ReplicateModel:
    """Shows one model. Replicate's `models.get`."""
    return model_view(entry_at(use.registry, owner, model), str(request.base_url).rstrip("/"), _created(use))


@router.get("/{owner}/{model}/versions", responses=_MISSING, dependencies=[READER])
def versions(owner: Owner, model: Model, use: Use) -> VersionPage:
    """Lists the versions of a model: the one that the registry has now."""
    return VersionPage(results=[version_view(entry_at(use.registry, owner, model), _created(use))])


@router.get("/{owner}/{model}/versions/{version}", responses=_MISSING, dependencies=[READER])
def version(
    owner: Owner,
    model: Model,
    version: Annotated[str, Path(description="Id of a version.")],
    use: Use,
) -> VersionView:
    """Shows one version of a model. Replicate's `run` with a version asks for it."""
    shown = version_view(entry_at(use.registry, owner, model), _created(use))
    if version != shown.id:
        raise NotFound(f"no version {version[:64]!r} of {owner}/{model}; there is: {shown.id}")
    return shown


def _created(use: Services) -> datetime:
    return created_at(use.settings.models_file)
