"""The spec fields that every row of a run has unless it says otherwise."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from latentfarm.errors import InvalidInput
from latentfarm.manifests.fields import check_field
from latentfarm.manifests.sweeps import check_value

if TYPE_CHECKING:
    from latentfarm.manifests.request import DatasetRequest

OF_DATASETS: dict[str, Any] = {"reproducible": True}


def row_defaults(request: DatasetRequest) -> dict[str, Any]:
    """What every row begins with.

    Raises:
        InvalidInput: a field that rows cannot have, or a value that no spec takes; names it.
    """
    for field, value in request.defaults.items():
        place = f"defaults.{field}"
        if field == "seed":
            raise InvalidInput(place, "one seed for all images would make one noise", "seed of the run")
        if field != "keep_latents":
            check_field(place, field)
        check_value(place, field, value)
    given = {field: value for field, value in request.defaults.items() if field != "keep_latents"}
    return OF_DATASETS | given


def keep_latents(request: DatasetRequest) -> int:
    """Seconds that base latents of the run are kept: none unless the defaults say so."""
    return int(request.defaults.get("keep_latents", 0))
