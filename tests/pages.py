"""The pages that are drawn from code. `python -m tests.pages` writes them anew; a test compares them."""

from __future__ import annotations

import ast
import inspect
from pathlib import Path
from typing import TYPE_CHECKING, Any

from fastapi.routing import iter_route_contexts
from pydantic import SecretStr

from api.app import create_app
from latentfarm import states
from latentfarm.retry import POLICIES
from latentfarm.settings import Settings

if TYPE_CHECKING:
    from pydantic.fields import FieldInfo

ROOT = Path(__file__).resolve().parent.parent
BEGIN, END = "<!-- drawn from latentfarm/states.py -->", "<!-- end -->"
BEGIN_POLICIES = "<!-- drawn from latentfarm/retry.py -->"
UNITS = {
    "_s": "seconds",
    "_gib": "GiB",
    "_days": "days",
    "_url": "URL",
    "_file": "path",
    "_port": "port",
    "_pool": "count",
}
ROUTES_HEAD = """\
# Routes

All that the API answers, and the scope that a key needs for it; `admin` holds the others too. Written by
`python -m tests.pages`, and held against the running application by a test.
"""
BOUNDS = {"ge": "at least", "gt": "above", "le": "at most"}
HEAD = """\
# Every setting of the farm: what it means, its unit and its default. Services read them from their
# environment. A line with `#` before the name shows the default; take the `#` away to change it.
# Written by `python -m tests.pages` from latentfarm/settings.py.
"""


def env_example() -> str:
    """The text of deploy/env.example."""
    entries = [_entry(name, field) for name, field in Settings.model_fields.items()]
    return "\n".join([HEAD, *entries])


def _entry(name: str, field: FieldInfo) -> str:
    variable = f"{Settings.model_config['env_prefix']}{name.upper()}"
    return f"# {field.description}\n# {_unit(name, field)}\n#{variable}={_default(field)}\n"


def _unit(name: str, field: FieldInfo) -> str:
    """`seconds, above 0`: what the suffix of the name, or else the type, says; then the bounds."""
    kind = str(field.annotation)
    plain = "true or false" if "bool" in kind else "count" if "int" in kind else "text"
    unit = next((unit for suffix, unit in UNITS.items() if name.endswith(suffix)), plain)
    bounds = [
        f"{words} {getattr(entry, key):g}"
        for entry in field.metadata
        for key, words in BOUNDS.items()
        if hasattr(entry, key)
    ]
    return f"Unit: {', '.join([unit, *bounds])}."


def _default(field: FieldInfo) -> str:
    value = field.default
    if isinstance(value, SecretStr):
        return value.get_secret_value()
    if isinstance(value, Path):
        return str(value.relative_to(ROOT))
    return "" if value is None else str(value)


def states_section() -> str:
    """Diagram and tables of docs/states.md, between its markers."""
    moves = [("[*]", state.label, why) for state, why in states.BEGINNINGS.items()]
    moves += [(before.label, after.label, why) for (before, after), why in states.TRANSITIONS.items()]
    letters = [chr(ord("A") + index) for index in range(len(moves))]
    final = [state.label for state in sorted(states.FINAL)]
    diagram = [
        "```mermaid",
        "stateDiagram-v2",
        *(f"    {a} --> {b}: {letter}" for letter, (a, b, _) in zip(letters, moves, strict=True)),
        *(f"    {state} --> [*]" for state in final),
        "```",
    ]
    table = ["| | from | to | who, and why |", "| --- | --- | --- | --- |"]
    table += [f"| {letter} | {a} | {b} | {why} |" for letter, (a, b, why) in zip(letters, moves, strict=True)]
    meaning = ["| state | what it means, and who moves it on |", "| --- | --- |"]
    meaning += [f"| {states.RenderState[name].label} | {text} |" for name, text in _state_texts()]
    return "\n".join([BEGIN, "", *diagram, "", *table, "", *meaning, "", END])


def _state_texts() -> list[tuple[str, str]]:
    """Names of `RenderState`, each with the string below it."""
    body = ast.parse(inspect.getsource(states.RenderState)).body[0]
    assert isinstance(body, ast.ClassDef)
    found = []
    for entry, below in zip(body.body, body.body[1:], strict=False):
        if isinstance(entry, ast.Assign) and isinstance(below, ast.Expr):
            assert isinstance(entry.targets[0], ast.Name)
            found.append((entry.targets[0].id, " ".join(ast.literal_eval(below.value).split())))
    return found


def states_page(page: str) -> str:
    """`page` with its drawn section made anew."""
    before, rest = page.split(BEGIN)
    return before + states_section() + rest.split(END)[1]


def policies_section() -> str:
    """The table of error classes in docs/operations.md, between its markers."""
    table = [
        "| class | what happens | charged | two devices end it | three renders send the device to rest |",
        "| --- | --- | --- | --- | --- |",
    ]
    for name, policy in POLICIES.items():
        charged = "no" if not policy.charged else "when it ran alone" if policy.alone else "yes"
        marks = ["yes" if mark else "no" for mark in (policy.telling, policy.blames_device)]
        table.append(f"| `{name}` | {' | '.join([policy.text, charged, *marks])} |")
    return "\n".join([BEGIN_POLICIES, "", *table, "", END])


def operations_page(page: str) -> str:
    """`page` with its drawn section made anew."""
    before, rest = page.split(BEGIN_POLICIES)
    return before + policies_section() + rest.split(END, 1)[1]


def routes_page() -> str:
    """The text of docs/routes.md: every route that the API answers, hidden ones too."""
    made = create_app(Settings())
    document = made.openapi()["paths"]
    table = ["| route | scope | what it does |", "| --- | --- | --- |"]
    for route in sorted(iter_route_contexts(made.routes), key=lambda one: str(one.path)):
        for method in sorted(getattr(route, "methods", None) or ()):
            told = document.get(route.path, {}).get(method.lower())
            if told is None:
                # The document itself, and the pages that show it; anything else here would be hidden.
                table.append(f"| `{method} {route.path}` | not in the document | |")
                continue
            scopes = [scope for need in told.get("security", []) for scope in need["ApiKey"]]
            table.append(f"| `{method} {route.path}` | {', '.join(scopes) or 'none'} | {_sentence(told)} |")
    return "\n".join([ROUTES_HEAD, *table, ""])


def _sentence(operation: dict[str, Any]) -> str:
    """The first line of what is said of a route."""
    return str(operation["description"]).splitlines()[0]


if __name__ == "__main__":
    (ROOT / "deploy" / "env.example").write_text(env_example())
    (ROOT / "docs" / "routes.md").write_text(routes_page())
    for name, drawn in (("states.md", states_page), ("operations.md", operations_page)):
        path = ROOT / "docs" / name
        path.write_text(drawn(path.read_text()))
