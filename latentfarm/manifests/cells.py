"""What the cells of a table mean where it knows text only."""

from __future__ import annotations

from functools import cache
from typing import Any

from latentfarm import strict_json
from latentfarm.errors import InvalidInput
from latentfarm.spec import RenderSpec

EXTRA = ("id", "metadata")
"""Columns besides the fields of a spec."""


@cache
def text_columns() -> frozenset[str]:
    """Columns whose cells are taken as they are; all others hold JSON."""
    schema = RenderSpec.model_json_schema()
    fields = schema["properties"].items()
    return frozenset({"id"} | {name for name, node in fields if _is_text(node, schema["$defs"])})


def known_columns() -> frozenset[str]:
    """Every column that a table may have; which of them a row may set is checked with the row."""
    return frozenset(RenderSpec.model_fields) | frozenset(EXTRA)


def _is_text(node: dict[str, Any], definitions: dict[str, Any]) -> bool:
    if "$ref" in node:
        node = definitions[node["$ref"].rsplit("/", 1)[1]]
    return any(branch.get("type") == "string" for branch in node.get("anyOf", [node]))


def from_text(column: str, cell: str) -> Any:
    """The value of a CSV cell that is not empty.

    Raises:
        InvalidInput: the column holds JSON, and the cell is none.
    """
    if column in text_columns():
        return cell
    try:
        return strict_json.loads(cell.encode())
    except InvalidInput as error:
        raise InvalidInput(column, f"{cell[:40]!r} is no value of it", "as in JSON: 30, 7.5, true") from error
