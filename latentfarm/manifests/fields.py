"""Which fields a row, a sweep and the defaults of a run may set."""

from __future__ import annotations

from difflib import get_close_matches

from latentfarm.errors import InvalidInput, NotSupported
from latentfarm.references import INPUT_FIELDS
from latentfarm.spec import RenderSpec

OF_THE_RUN = {
    "lane": "leave it out: datasets wait in lane bulk",
    "priority": "priority of the run",
    "keep_latents": "in defaults",
    "retain_days": "retain_days of the run",
    "webhook": "webhook of the run",
}
"""Fields of a job, which a row has none of; and what to do instead."""
ROW_FIELDS = frozenset(RenderSpec.model_fields) - OF_THE_RUN.keys() - set(INPUT_FIELDS) - {"metadata"}
"""Fields of a spec that may differ from row to row."""


def check_field(place: str, field: str) -> None:
    """Whether a row or a sweep may set a field of the spec.

    Args:
        place: what an error names.

    Raises:
        InvalidInput: there is no such field, or it belongs to the run.
        NotSupported: pictures to start from.
    """
    if field in ROW_FIELDS:
        return
    if field in INPUT_FIELDS:
        raise NotSupported(place, "datasets start from noise so far", "leave it out")
    if field in OF_THE_RUN:
        raise InvalidInput(place, "belongs to the run, not to its rows", OF_THE_RUN[field])
    close = get_close_matches(field[:64], ROW_FIELDS, n=1)
    allowed = f"did you mean {close[0]}?" if close else ", ".join(sorted(ROW_FIELDS))
    raise InvalidInput(place, "unknown field", allowed)
