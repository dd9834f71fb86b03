"""Which jobs a list shows."""

import re
from typing import Annotated, Literal

from fastapi import Depends, Query
from pydantic import AwareDatetime, BeforeValidator

from latentfarm.errors import InvalidInput
from latentfarm.repository.listing import Wanted
from latentfarm.states import JobState, Lane

_DATE = re.compile(r"\d{4}-")


def _written_out(value: object) -> object:
    """Refuses bare numbers, which pydantic takes for seconds since 1970, or for milliseconds, by their size."""
    if isinstance(value, str) and not _DATE.match(value):
        raise ValueError("not a date with a time and its offset")
    return value


Time = Annotated[AwareDatetime, BeforeValidator(_written_out)]


def wanted_jobs(
    state: Annotated[
        list[JobState] | None, Query(max_length=8, description="In that state; given again: in any of them.")
    ] = None,
    lane: Annotated[Lane | None, Query(description="In that lane.")] = None,
    model: Annotated[
        str | None, Query(max_length=64, description="Of that model; `*`: datasets of several.")
    ] = None,
    kind: Annotated[Literal["single", "refine", "dataset"] | None, Query(description="Of that kind.")] = None,
    created_after: Annotated[
        Time | None, Query(description="Accepted at that time or later; ISO 8601 with its offset.")
    ] = None,
    created_before: Annotated[
        Time | None, Query(description="Accepted before that time; ISO 8601 with its offset.")
    ] = None,
) -> Wanted:
    """The parameters of a list.

    Raises:
        InvalidInput: a text that no job can have.
    """
    if model is not None and "\0" in model:
        raise InvalidInput("model", "holds a NUL character")
    return Wanted(frozenset(state or ()), lane, model, kind, created_after, created_before)


WantedJobs = Annotated[Wanted, Depends(wanted_jobs)]
