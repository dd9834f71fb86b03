"""Pages that repeat what code says are drawn from it, and the others point at things that exist."""

from __future__ import annotations

import ast
import re
import subprocess
from pathlib import Path

import pytest

from latentfarm.errors import ErrorClass
from latentfarm.settings import Settings
from latentfarm.states import BEGINNINGS, FINAL, TRANSITIONS, RenderState
from tests.pages import env_example, operations_page, routes_page, states_page

ROOT = Path(__file__).resolve().parents[2]
ROOMS = ("api", "latentfarm", "scheduler", "worker")
PAGES = sorted([*ROOT.glob("*.md"), *(ROOT / "docs").glob("*.md")])


def test_env_example_is_drawn_from_the_settings() -> None:
    """To write it anew: python -m tests.pages."""
    assert (ROOT / "deploy" / "env.example").read_text() == env_example()


def test_env_example_names_every_setting_once() -> None:
    names = re.findall(r"^#(LATENTFARM_\w+)=", env_example(), re.MULTILINE)
    assert names == [f"LATENTFARM_{name.upper()}" for name in Settings.model_fields]


def test_env_example_gives_the_defaults(monkeypatch: pytest.MonkeyPatch) -> None:
    """Taking every `#` away changes nothing."""
    for name, value in re.findall(r"^#(LATENTFARM_\w+)=(.+)$", env_example(), re.MULTILINE):
        monkeypatch.setenv(name, str(ROOT / value) if name.endswith("_FILE") else value)
    found = Settings()
    monkeypatch.undo()
    assert found == Settings()


def test_every_setting_says_what_it_means() -> None:
    for name, field in Settings.model_fields.items():
        assert field.description, name
        assert field.description.endswith("."), name


def test_states_page_is_drawn_from_the_transition_table() -> None:
    """To write it anew: python -m tests.pages."""
    page = (ROOT / "docs" / "states.md").read_text()
    assert page == states_page(page)
    assert page.count(" --> ") == len(BEGINNINGS) + len(TRANSITIONS) + len(FINAL)
    for state in RenderState:
        assert f"| {state.label} | " in page


def test_operations_page_is_drawn_from_the_policies() -> None:
    """To write it anew: python -m tests.pages."""
    page = (ROOT / "docs" / "operations.md").read_text()
    assert page == operations_page(page)
    for name in ErrorClass:
        assert f"| `{name}` | " in page


def test_the_inventory_of_routes_is_that_of_the_running_application() -> None:
    """To write it anew, and to see what came to be open: python -m tests.pages."""
    page = (ROOT / "docs" / "routes.md").read_text()
    assert page == routes_page()
    hidden = re.findall(r"`GET (\S+)` \| not in the document", page)
    assert hidden == ["/docs", "/docs/oauth2-redirect", "/openapi.json", "/redoc"]
    # The link of an output is signed.
    signed = "GET /replicate/v1/outputs/{token}/{file}"
    assert re.findall(r"`(\w+ \S+)` \| none", page) == ["GET /healthz", "GET /readyz", signed]


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_links_between_pages_lead_somewhere(page: Path) -> None:
    for target in re.findall(r"\]\((?!https?:|#)([^)#]+)", page.read_text()):
        assert (page.parent / target).exists(), target


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_files_that_pages_name_exist(page: Path) -> None:
    named = re.findall(r"`((?:[\w-]+/)+[\w.-]*)`", page.read_text())
    made = ("demo/", ".latentfarm/", "out/", "dist/")
    missing = [name for name in named if not name.startswith(made) and not (ROOT / name).exists()]
    assert missing == []


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_make_targets_that_pages_name_exist(page: Path) -> None:
    targets = set(re.findall(r"^([a-z]+):", (ROOT / "Makefile").read_text(), re.MULTILINE))
    named = set(re.findall(r"`make ([a-z]+)`|^make ([a-z]+)", page.read_text(), re.MULTILINE))
    assert {first or second for first, second in named} <= targets


def _log_events() -> set[str]:
    """First arguments of every `get_logger().info(...)` and its like."""
    found = set[str]()
    for path in (path for room in ROOMS for path in (ROOT / room).rglob("*.py")):
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.Call) and ast.unparse(node.func).startswith("get_logger()."):
                texts = [part.value for part in ast.walk(node.args[0]) if isinstance(part, ast.Constant)]
                assert texts, f"{path}:{node.lineno}: the event is not written where it is logged"
                found |= {text for text in texts if isinstance(text, str)}
    return found


def test_every_log_event_and_metric_is_explained_to_operators() -> None:
    explained = set(re.findall(r"`([a-z_]+)`", (ROOT / "docs" / "operations.md").read_text()))
    code = "".join(path.read_text() for path in (ROOT / "api").glob("*.py"))
    metrics = set(re.findall(r'"(latentfarm_[a-z_]+)"', code))
    assert metrics
    assert (_log_events() | metrics) - explained == set()
    assert {name for name in explained if name.startswith("latentfarm_")} == metrics


def test_make_without_a_target_lists_them_all() -> None:
    shown = subprocess.run(
        ["make", "--no-print-directory"], cwd=ROOT, capture_output=True, text=True, check=True
    )
    for target in ("install", "demo", "up", "test", "check", "full", "bench", "clean"):
        assert f"make {target} " in shown.stdout


def test_the_picture_comes_early_in_the_readme() -> None:
    """At most 2 commands and 25 lines before it."""
    before, _, _ = (ROOT / "README.md").read_text().partition("![")
    assert before.count("\n") <= 25
    assert len(re.findall(r"^ *(?:make|pip|python|latentfarm|git) ", before, re.MULTILINE)) <= 2
