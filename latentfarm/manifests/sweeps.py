"""Sweeps: the combinations of values that every row is rendered with."""

from __future__ import annotations

import itertools
import json
import math
from typing import TYPE_CHECKING, Any

from pydantic import ValidationError

from latentfarm.errors import InvalidInput
from latentfarm.explain import explain
from latentfarm.manifests.fields import check_field
from latentfarm.spec import RenderSpec

if TYPE_CHECKING:
    from collections.abc import Iterable

    from latentfarm.manifests.request import Sweep

MAX_COMBINATIONS = 10_000
"""Of one row; each has a spec of its own that is checked once and kept."""


def combinations(sweep: Sweep) -> list[dict[str, Any]]:
    """Every combination of the product, each with every row of the zip; one that is empty without a sweep.

    Raises:
        InvalidInput: a field that no spec has or that is named twice, a value that no spec takes, an empty
            list, zipped lists that differ in length, or more than `MAX_COMBINATIONS`, counted first.
    """
    for kind, lists in (("product", sweep.product), ("zip", sweep.zip)):
        for field, values in lists.items():
            _check_list(f"sweep.{kind}.{field}", field, values)
    for field in sweep.product.keys() & sweep.zip.keys():
        raise InvalidInput(f"sweep.zip.{field}", "is in the product too", "one of them")
    lengths = {len(values) for values in sweep.zip.values()}
    if len(lengths) > 1:
        raise InvalidInput(
            "sweep.zip", f"lists of {', '.join(map(str, sorted(lengths)))} values", "one length"
        )
    count = math.prod(map(len, sweep.product.values())) * max(lengths, default=1)
    if count > MAX_COMBINATIONS:
        raise InvalidInput("sweep", f"{count} combinations", f"up to {MAX_COMBINATIONS} for each row")
    products = [dict(zip(sweep.product, values, strict=True)) for values in _product(sweep.product.values())]
    rows = zip(*sweep.zip.values(), strict=True) if sweep.zip else [()]
    zipped = [dict(zip(sweep.zip, values, strict=True)) for values in rows]
    return [{**one, **other} for one in products for other in zipped]


def _product(lists: Iterable[tuple[Any, ...]]) -> Iterable[tuple[Any, ...]]:
    return itertools.product(*lists)


def _check_list(place: str, field: str, values: tuple[Any, ...]) -> None:
    check_field(place, field)
    if not values:
        raise InvalidInput(place, "an empty list leaves nothing to render", "at least one value")
    for index, value in enumerate(values):
        check_value(f"{place}.{index}", field, value)


def check_value(place: str, field: str, value: Any) -> None:
    """Whether a field of a spec takes a value, whatever its model says.

    Raises:
        InvalidInput: it does not; names the place.
    """
    try:
        RenderSpec.model_validate_json(json.dumps({"prompt": "", field: value}), strict=True)
    except ValidationError as error:
        first = explain(error, RenderSpec)[0]
        raise InvalidInput(place + first.field.removeprefix(field), first.message, first.allowed) from error
