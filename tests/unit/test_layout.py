"""The shape of the house: where packages come from, how large things are, what an import may do."""

from __future__ import annotations

import ast
import json
import subprocess
import sys
from importlib import import_module
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
ROOMS = ("api", "latentfarm", "migrations", "scheduler", "worker")
BESIDE = ("benchmarks", "tests", "training")
PRODUCT = sorted(path for room in ROOMS for path in (ROOT / room).rglob("*.py"))
EVERYTHING = sorted([*PRODUCT, *(path for room in BESIDE for path in (ROOT / room).rglob("*.py"))])
HEAVY = ("torch", "diffusers", "transformers", "sqlalchemy", "celery", "boto3", "redis", "psycopg", "fastapi")
VAGUE = {"utils", "util", "common", "helpers", "misc"}


def _name(path: Path) -> str:
    return str(path.relative_to(ROOT))


def _modules() -> list[str]:
    """Importable modules of the rooms; migrations run when Alembic imports them."""
    paths = [path for path in PRODUCT if path.parts[len(ROOT.parts)] != "migrations"]
    names = [path.relative_to(ROOT).with_suffix("").as_posix().replace("/", ".") for path in paths]
    return [name.removesuffix(".__init__") for name in names]


def _functions(path: Path) -> list[ast.FunctionDef | ast.AsyncFunctionDef]:
    tree = ast.parse(path.read_text())
    return [node for node in ast.walk(tree) if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)]


def _run(code: str) -> str:
    """Standard output of a fresh interpreter in the root of the checkout."""
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.mark.parametrize("room", ["api", "scheduler", "worker", "migrations", "latentfarm"])
def test_rooms_come_from_this_tree(room: str) -> None:
    """A foreign package called `scheduler` would otherwise win, without a word."""
    found = import_module(room).__file__
    assert found is not None
    assert Path(found).parent == ROOT / room


def test_the_wheel_ships_the_core_only() -> None:
    import tomllib

    from setuptools import find_packages  # type: ignore[import-untyped]  # ships no types

    options = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["setuptools"]["packages"]["find"]
    shipped = find_packages(str(ROOT), include=options["include"])
    assert {name.split(".")[0] for name in shipped} == {"latentfarm"}


def test_files_stay_readable_in_one_sitting() -> None:
    too_long = {_name(path): n for path in EVERYTHING if (n := len(path.read_text().splitlines())) > 300}
    assert too_long == {}


def test_functions_stay_small() -> None:
    too_long = {
        f"{_name(path)}:{node.name}": length
        for path in PRODUCT
        for node in _functions(path)
        if (length := (node.end_lineno or 0) - node.lineno + 1) > 50
    }
    assert too_long == {}


def test_every_function_is_annotated() -> None:
    bare = [
        f"{_name(path)}:{node.name}" for path in PRODUCT for node in _functions(path) if node.returns is None
    ]
    assert bare == []


def test_no_module_has_a_name_that_says_nothing() -> None:
    vague = [_name(path) for path in EVERYTHING if VAGUE & {path.stem, *path.relative_to(ROOT).parent.parts}]
    assert vague == []


@pytest.mark.parametrize(
    "module",
    ["latentfarm", "latentfarm.errors", "latentfarm.spec", "latentfarm.client", "latentfarm.cli.app"],
)
def test_what_a_client_imports_is_light(module: str) -> None:
    loaded = json.loads(_run(f"import sys, json, {module}; print(json.dumps(sorted(sys.modules)))"))
    assert [name for name in HEAVY if name in loaded] == []


def test_a_parent_needs_no_torch() -> None:
    loaded = json.loads(_run("import sys, json, worker.__main__; print(json.dumps(sorted(sys.modules)))"))
    assert {"torch", "diffusers", "transformers"}.isdisjoint(loaded)


def test_nothing_happens_at_import() -> None:
    """No module reads a setting, opens a connection or starts a thread when it is imported."""
    watch = f"""
import importlib, sys, threading, warnings
from latentfarm.settings import Settings

warnings.simplefilter("ignore")  # of libraries
seen = []
Settings.__init__ = lambda *_, **__: seen.append("Settings")
sys.addaudithook(lambda event, _: seen.append(event) if event in ("socket.connect", "socket.bind") else None)
for name in {_modules()!r}:
    importlib.import_module(name)
print(seen, [thread.name for thread in threading.enumerate()])
"""
    assert _run(watch) == "[] ['MainThread']\n"
