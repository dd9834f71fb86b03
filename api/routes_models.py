"""The models of the registry, in OpenAI's list shape with our fields added."""

from collections import Counter
from collections.abc import Sequence
from http import HTTPStatus
from typing import Annotated, Any, Literal

from fastapi import APIRouter, Path
from sqlalchemy import RowMapping

from api.access import needs
from api.deps import Services, Use
from api.openapi import problems
from latentfarm.api_keys import Scope
from latentfarm.errors import NotFound
from latentfarm.facts import facts_of
from latentfarm.registry import ModelEntry
from latentfarm.samplers import SAMPLERS, SPACINGS, Sampler
from latentfarm.spec import MAX_PROMPT_CHARS, MAX_STEPS
from latentfarm.states import Stage
from latentfarm.views import ModelList, ModelView, SamplerView

router = APIRouter(prefix="/v1/models", tags=["models"])


@router.get("", responses=problems(), dependencies=[needs(Scope.READ, any_bearer=True)])
def listing(use: Use) -> ModelList:
    """Lists all models: sizes, limits, samplers, and how many warm workers serve each."""
    workers = use.repository.live_workers()
    return ModelList(data=[_view(use, entry, workers) for entry in use.registry.entries.values()])


@router.get(
    "/{model}", responses=problems(HTTPStatus.NOT_FOUND), dependencies=[needs(Scope.READ, any_bearer=True)]
)
def show(model: Annotated[str, Path(description="A name in the registry.")], use: Use) -> ModelView:
    """Shows one model."""
    entry = use.registry.entries.get(model)
    if entry is None:
        raise NotFound(f"no model {model[:64]!r}; there are: {', '.join(sorted(use.registry.entries))}")
    return _view(use, entry, use.repository.live_workers())


def _view(use: Services, entry: ModelEntry, workers: Sequence[RowMapping]) -> ModelView:
    return ModelView(
        id=entry.name,
        created=int(use.settings.models_file.stat().st_mtime) if use.settings.models_file.exists() else 0,
        native_size=list(entry.native_size),
        min_size=entry.min_size,
        max_size=entry.max_size,
        max_images=entry.max_images,
        max_steps=MAX_STEPS,
        max_prompt_chars=MAX_PROMPT_CHARS,
        refiner=entry.refiner is not None,
        loras={name: lora.stage for name, lora in entry.loras.items()},
        embeddings={name: entry.token_of(name) for name in entry.embeddings},
        default_sampler=entry.sampler,
        samplers=[
            _sampler(name, row) for name, row in SAMPLERS.items() if row.family == facts_of(entry).family
        ],
        dtype=entry.dtype,
        bucket=entry.bucket,
        ready_workers=_ready(entry.name, workers),
        hashes=_hashes(entry.name, workers),
    )


def _ready(model: str, workers: Sequence[RowMapping]) -> dict[str, int]:
    serving: Counter[str] = Counter()
    for worker in workers:
        if worker["ready"] and worker["lease_left_s"] > 0 and model in worker["assigned_models"]:
            serving.update(Stage(stage).label for stage in worker["stages"])
    return {stage.label: serving[stage.label] for stage in (Stage.BASE, Stage.REFINE)}


def _hashes(model: str, workers: Sequence[RowMapping]) -> dict[str, list[str]]:
    """More than one for a stage: workers have different files under one name."""
    loaded: dict[str, set[str]] = {}
    for worker in workers:
        if worker["ready"] and worker["lease_left_s"] > 0:
            for stage, sha256 in worker["info"].get("models", {}).get(model, {}).items():
                loaded.setdefault(stage, set()).add(sha256)
    return {stage: sorted(found) for stage, found in loaded.items()}


def _sampler(name: str, sampler: Sampler) -> SamplerView:
    flags: dict[Literal["timesteps", "sigmas", "eta", "rescale_betas_zero_snr"], Any] = {
        "timesteps": sampler.takes_timesteps,
        "sigmas": sampler.takes_sigmas,
        "eta": sampler.takes_eta,
        "rescale_betas_zero_snr": sampler.takes_zero_snr,
    }
    return SamplerView(
        name=name,
        sigma_schedules=["default", *sampler.sigma_schedules],
        timestep_spacings=list(SPACINGS) if sampler.spacing else [],
        takes=[field for field, takes in flags.items() if takes],
    )
