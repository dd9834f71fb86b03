"""Pydantic's complaints as ours: which field, what is wrong, and what would be allowed."""

from __future__ import annotations

from difflib import get_close_matches
from functools import cache
from typing import TYPE_CHECKING, Any

from latentfarm.errors import InvalidInput
from latentfarm.references import ALLOWED, PICTURE_ERROR

if TYPE_CHECKING:
    from collections.abc import Sequence

    from pydantic import BaseModel, ValidationError

MOST = 20
"""Complaints that one answer carries: a list of a thousand wrong numbers needs no thousand lines."""


def explain(error: ValidationError, model: type[BaseModel]) -> list[InvalidInput]:
    """One `InvalidInput` per complaint, in the order of the fields; at most `MOST`.

    Args:
        model: what the input was validated against; its JSON schema tells what is allowed.
    """
    complaints = error.errors(include_url=False, include_context=False, include_input=False)
    return [_explain(entry["type"], entry["loc"], entry["msg"], model) for entry in complaints[:MOST]]


def _explain(kind: str, place: Sequence[str | int], message: str, model: type[BaseModel]) -> InvalidInput:
    field = ".".join(str(part) for part in place)[:200] or "body"
    if kind == "extra_forbidden":
        return InvalidInput(field, "unknown field", _near(place, model))
    if kind == "missing":
        message = "required, but missing"
    if kind == PICTURE_ERROR:
        return InvalidInput(field, message, ALLOWED)
    return InvalidInput(field, message, allowed(model, place))


def allowed(model: type[BaseModel], place: Sequence[str | int]) -> str:
    """What the schema of `model` allows at a place, in words; empty when it does not say."""
    node = _at(model, place)
    return "" if node is None else _words(node)


def is_text(model: type[BaseModel], place: Sequence[str | int]) -> bool:
    """Whether the schema of `model` allows text at a place."""
    return (_at(model, place) or {}).get("type") == "string"


def _at(model: type[BaseModel], place: Sequence[str | int]) -> dict[str, Any] | None:
    node: dict[str, Any] | None = _schema(model)
    for part in place:
        node = _step(node, part, _schema(model)) if node is not None else None
    return None if node is None else _resolve(node, _schema(model))


@cache
def _schema(model: type[BaseModel]) -> dict[str, Any]:
    return model.model_json_schema()


def _resolve(node: dict[str, Any], root: dict[str, Any]) -> dict[str, Any]:
    """Follows `$ref`, and takes the branch of an optional value that is not null."""
    while True:
        if "$ref" in node:
            node = root["$defs"][node["$ref"].rsplit("/", 1)[1]]
        elif "anyOf" in node:
            node = next(branch for branch in node["anyOf"] if branch.get("type") != "null")
        else:
            return node


def _step(node: dict[str, Any], part: str | int, root: dict[str, Any]) -> dict[str, Any] | None:
    node = _resolve(node, root)
    if isinstance(part, int):
        entries = node.get("prefixItems", [])
        found = entries[part] if part < len(entries) else node.get("items")
    else:
        found = node.get("properties", {}).get(part, node.get("additionalProperties"))
    return found if isinstance(found, dict) else None


def _words(node: dict[str, Any]) -> str:
    if "enum" in node:
        return ", ".join(str(value) for value in node["enum"])
    match node.get("type"):
        case "integer" | "number" as kind:
            words = _numbers(node, "whole number" if kind == "integer" else "number")
        case "string":
            words = "text" + _most(node, "maxLength", " characters")
        case "array" if "prefixItems" in node:
            words = f"a list of {len(node['prefixItems'])}"
        case "array":
            words = "a list" + _most(node, "maxItems", "")
        case "object":
            words = "an object" + _most(node, "maxProperties", " keys")
        case "boolean":
            words = "true or false"
        case _:
            words = ""
    return words


def _most(node: dict[str, Any], key: str, unit: str) -> str:
    return f" of at most {node[key]}{unit}" if key in node else ""


def _numbers(node: dict[str, Any], kind: str) -> str:
    low, over = node.get("minimum"), node.get("exclusiveMinimum")
    high, under = node.get("maximum"), node.get("exclusiveMaximum")
    parts = []
    if low is not None and high is not None:
        parts.append(f"{low:g} to {high:g}" if isinstance(high, float) else f"{low} to {high}")
    else:
        bounds = (("at least", low), ("over", over), ("at most", high), ("under", under))
        parts.append(" and ".join(f"{word} {value}" for word, value in bounds if value is not None) or kind)
    if "multipleOf" in node:
        parts.append(f"a multiple of {node['multipleOf']}")
    return ", ".join(parts)


def _near(place: Sequence[str | int], model: type[BaseModel]) -> str:
    node: dict[str, Any] | None = _schema(model)
    for part in place[:-1]:
        node = _step(node, part, _schema(model)) if node is not None else None
    names = list(_resolve(node, _schema(model)).get("properties", {})) if node else []
    close = get_close_matches(str(place[-1])[:64], names, n=1)
    return f"did you mean {close[0]}?" if close else ", ".join(names)
