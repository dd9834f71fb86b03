"""What a job would take, before it is one."""

from sqlalchemy import Connection

from api.datasets_shown import with_bytes
from api.deps import Services
from latentfarm.dataset_views import Estimate
from latentfarm.quotas import ask_of
from latentfarm.quote_views import JobQuote
from latentfarm.repository import outlook, quotas
from latentfarm.repository.costing import Cost, cost_of
from latentfarm.repository.tenancy import check_room
from latentfarm.spec import RenderSpec
from latentfarm.stages import megapixel_steps_of

Size = tuple[float, str] | None


def quote(use: Services, spec: RenderSpec, *, tenant: str, key: str | None) -> JobQuote:
    """All that a submit would look at, and none of what it would store.

    Raises:
        InvalidInput, TooMuchQueued: as a submit.
    """
    full = use.farm.examine(spec, tenant=tenant, key=key)

    def ask(connection: Connection) -> tuple[Cost | None, Size]:
        check_room(connection, tenant, full.num_images)
        quotas.check(connection, tenant, ask_of(full, use.registry.get(full.model)))
        return cost_of(connection, full.model), outlook.image_size(connection)

    cost, size = use.repository.transact(ask)
    work = full.num_images * megapixel_steps_of(full, use.registry.get(full.model))
    return JobQuote(
        model=full.model,
        renders=full.num_images,
        megapixel_steps=round(work, 3),
        estimate=estimate(full.model, full.num_images, work, cost, size),
        spec=full.model_dump(mode="json"),
    )


def estimate(model: str, images: int, work: float, cost: Cost | None, size: Size) -> Estimate:
    """GPU-seconds and bytes, each with what it is made of."""
    seconds, basis = None, f"nothing of {model} was rendered of late"
    if cost is not None:
        seconds = round(work * cost.each_s, 3)
        basis = (
            f"{cost.gpu_s:.1f} GPU-seconds of {cost.starts:.0f} claims of {model}, the last ones counting most, of"
            f" {cost.work:.3g} megapixel-steps each, the mean of {cost.claims}: {cost.each_s:.4g} s for a megapixel-step"
        )
    return with_bytes(seconds, basis, images, size)
