"""The command line as it is typed, without an API."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from typing import TYPE_CHECKING, Any

import pytest
from typer.testing import CliRunner

from latentfarm.cli.app import app
from latentfarm.cli.options import SpecOption, collect, refine_options, spec_options
from latentfarm.cli.output import columns
from latentfarm.cli.panels import PANELS
from latentfarm.client import Client
from latentfarm.errors import InvalidInput
from latentfarm.references import INPUT_FIELDS
from latentfarm.refinement import RefineRequest
from latentfarm.spec import OutputSpec, RefinerSpec, RenderSpec
from latentfarm.webhooks.wish import JobWebhook

if TYPE_CHECKING:
    from pathlib import Path

    from pydantic import BaseModel

UPLOAD = "01890000-0000-7000-8000-00000000abcd"


def leaves(model: type[BaseModel], *above: str) -> set[tuple[str, ...]]:
    return {(*above, name) for name in model.model_fields}


def test_every_field_of_the_spec_is_an_option() -> None:
    wanted = leaves(RenderSpec) - {("prompt",), ("output",), ("webhook",)}
    wanted |= leaves(RefinerSpec, "refiner") | leaves(OutputSpec, "output") | leaves(JobWebhook, "webhook")
    assert {option.path for option in spec_options()} == wanted


def schema_of(path: tuple[str, ...]) -> dict[str, Any]:
    """A field's part of the JSON schema, without the branch for null."""
    root = RenderSpec.model_json_schema()
    node: dict[str, Any] = root
    for name in path:
        node = node["properties"][name]
        node = next((branch for branch in node.get("anyOf", []) if branch != {"type": "null"}), node)
        if "$ref" in node:
            node = root["$defs"][node["$ref"].rsplit("/", 1)[1]]
    return node


@pytest.mark.parametrize("option", list(spec_options()), ids=lambda option: option.name)
def test_help_tells_range_and_default_of_every_field(option: SpecOption) -> None:
    shown = f"{option.help()} {option.metavar or ''}"
    node, default = schema_of(option.path), option.field.default
    inside = [node, *node.get("prefixItems", []), node.get("items", {})]
    limits = ("minimum", "exclusiveMinimum", "maximum", "exclusiveMaximum", "maxItems", "maxProperties")
    wanted = [str(part[limit]) for part in inside for limit in limits if limit in part]
    wanted += [str(value) for value in node.get("enum", [])]
    if "maxLength" in node and option.name not in INPUT_FIELDS:
        wanted.append(f"at most {node['maxLength']} characters")
    if isinstance(default, bool | int | float | str):
        wanted.append(f"default: {str(default).lower()}")
    elif default is None:
        wanted.append("when absent")
    assert [text for text in wanted if text not in shown] == []


def test_help_is_in_sections_and_fits_a_terminal() -> None:
    ran = CliRunner().invoke(app, ["render", "--help"], env={"COLUMNS": "100"})
    lines = ran.output.splitlines()
    assert max(map(len, lines)) <= 100
    titles = [line.removesuffix(":") for line in lines if re.fullmatch(r"\w.*:", line)]
    assert titles == ["Arguments", "Options", *PANELS]
    fields = [field for names in PANELS.values() for field in names]
    assert len(fields) == len(set(fields))
    assert set(fields) <= set(RenderSpec.model_fields)
    refiner = ran.output.split("\nRefiner:\n")[1].split("\n\n")[0]
    assert refiner.count("  --refiner-") == len(RefinerSpec.model_fields)


def test_everything_that_can_be_refined_otherwise_is_an_option() -> None:
    wanted = leaves(RefineRequest) - {("refiner",), ("output",)}
    wanted |= leaves(RefinerSpec, "refiner") | leaves(OutputSpec, "output")
    assert {option.path for option in refine_options()} == wanted


def test_a_wish_to_refine_is_typed_and_nothing_else_is_set(monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[tuple[str, RefineRequest]] = []

    def refine(_client: object, job: str, fields: dict[str, object]) -> None:
        asked.append((job, RefineRequest.model_validate(fields)))
        raise Submitted

    monkeypatch.setattr(Client, "refine", refine)
    line = "--source image --indices 2,0 --refiner-strength 0.5 --output-quality 9 --lane bulk --metadata a=b"
    for words in (line.split(), []):
        CliRunner().invoke(app, ["jobs", "refine", UPLOAD, *words])
    wanted = RefineRequest(
        source="image",
        indices=(2, 0),
        refiner=RefinerSpec(strength=0.5),
        output=OutputSpec(quality=9),
        lane="bulk",
        metadata={"a": "b"},
    )
    assert asked == [(UPLOAD, wanted), (UPLOAD, RefineRequest())]
    assert asked[0][1].refiner.model_fields_set == {"strength"}
    assert asked[1][1].model_fields_set == set()


def test_loras_are_typed_with_their_weights() -> None:
    found = collect({"loras": "a=0.5, b.c,d=-1", "embeddings": "mood, rows"})
    assert found["loras"] == [{"name": "a", "weight": 0.5}, {"name": "b.c"}, {"name": "d", "weight": -1.0}]
    assert found["embeddings"] == ["mood", "rows"]
    with pytest.raises(InvalidInput, match="NAME=WEIGHT"):
        collect({"loras": "a=heavy"})


class Submitted(Exception):  # noqa: N818 - carries what would have been sent
    pass


@pytest.fixture
def typed(monkeypatch: pytest.MonkeyPatch) -> object:
    """Runs `latentfarm render ...` up to the submit, and gives the spec."""

    def submit(_client: object, fields: dict[str, object]) -> None:
        raise Submitted(RenderSpec.model_validate(fields))

    monkeypatch.setattr(Client, "submit", submit)

    def run(*words: str, stdin: str = "") -> RenderSpec:
        ran = CliRunner().invoke(app, ["render", *words], input=stdin)
        if isinstance(ran.exception, Submitted):
            spec = ran.exception.args[0]
            assert isinstance(spec, RenderSpec)
            return spec
        if ran.exception is not None and not isinstance(ran.exception, SystemExit):
            raise ran.exception
        raise AssertionError(ran.output)

    return run


def test_options_become_fields(typed) -> None:
    line = (
        "a -n 3 --seed 7 --steps 9 --guidance 2.5 --refiner-high-noise-frac 0.6 --output-format webp"
        " --output-quality 80 --reproducible --lane bulk --original-size 64x128 --timesteps 900,500,1"
        " --metadata a=b --metadata c=d=e --negative-prompt no --clip-skip 1"
    )
    assert typed(*line.split()) == RenderSpec(
        prompt="a",
        num_images=3,
        seed=7,
        num_inference_steps=9,
        guidance_scale=2.5,
        refiner=RefinerSpec(high_noise_frac=0.6),
        output=OutputSpec(format="webp", quality=80),
        reproducible=True,
        lane="bulk",
        original_size=(64, 128),
        timesteps=(900, 500, 1),
        metadata={"a": "b", "c": "d=e"},
        negative_prompt="no",
        clip_skip=1,
    )


def test_pictures_may_be_files(typed, monkeypatch: pytest.MonkeyPatch) -> None:
    """Each file is uploaded once; what names a picture already is left alone."""
    uploaded: list[str] = []

    def upload(_client: object, path: str) -> str:
        uploaded.append(path)
        return UPLOAD

    monkeypatch.setattr(Client, "upload", upload)
    spec = typed("a", "--image", "cat.png", "--mask", "mask.png")
    assert (spec.image, spec.mask_image, uploaded) == (UPLOAD, UPLOAD, ["cat.png", "mask.png"])
    spec = typed("a", "--image", "cat.png", "--mask-image", "cat.png")
    assert (spec.image, spec.mask_image, uploaded[2:]) == (UPLOAD, UPLOAD, ["cat.png"])
    for name in (UPLOAD, "https://a.example/cat.png", f"sha256:{'ab' * 32}", "data:image/png;base64,AAAA"):
        assert typed("a", "--image", name).image == name
    assert len(uploaded) == 3


def test_nothing_is_set_that_was_not_typed(typed) -> None:
    assert typed("a").model_fields_set == {"prompt"}
    assert typed("a", "--refiner").refiner == RefinerSpec()
    assert typed("a", "--no-refiner").refiner is None


def test_options_win_over_a_spec_file(typed, tmp_path: Path) -> None:
    file = tmp_path / "spec.json"
    file.write_text(
        json.dumps({"prompt": "of the file", "seed": 1, "output": {"format": "webp", "quality": 9}})
    )
    spec = typed("--spec", str(file), "--seed", "2", "--output-quality", "8")
    assert (spec.prompt, spec.seed) == ("of the file", 2)
    assert spec.output == OutputSpec(format="webp", quality=8)
    assert typed("typed", "--spec", "-", stdin=file.read_text()).prompt == "typed"


@pytest.mark.parametrize(
    ("words", "field"),
    [
        (["--steps", "999"], "num_inference_steps"),
        (["--original-size", "wide"], "original_size"),
        (["--metadata", "no-sign"], "metadata"),
        (["--timesteps", "1,x"], "timesteps.1"),
        (["--output-format", "bmp"], "output.format"),
        (["--spec", "/nowhere/spec.json"], "--spec"),
    ],
)
def test_what_cannot_be_read_is_named(words: list[str], field: str) -> None:
    ran = CliRunner().invoke(app, ["render", "a", "--api", "http://127.0.0.1:1", *words])
    assert isinstance(ran.exception, InvalidInput)
    assert ran.exception.field == field


def test_a_value_that_cannot_be_read_says_how() -> None:
    with pytest.raises(InvalidInput, match="HEIGHTxWIDTH"):
        collect({"target_size": "7"})


@pytest.mark.parametrize(
    "command",
    [
        [],
        ["render"],
        ["jobs"],
        ["jobs", "watch"],
        ["jobs", "refine"],
        ["models"],
        ["replay"],
        ["grid"],
        ["doctor"],
    ],
)
def test_help_names_every_option_in_full(command: list[str]) -> None:
    ran = CliRunner().invoke(app, [*command, "--help"], env={"COLUMNS": "80"})
    assert ran.exit_code == 0
    assert "…" not in ran.output
    assert re.search(r"^Usage: ", ran.output, re.MULTILINE)
    if command == ["render"]:
        shown = ran.output
        options = ["-".join(option.path).replace("_", "-") for option in spec_options()]
        assert [name for name in options if f"--{name}" not in shown] == []


@pytest.mark.parametrize(
    ("words", "status", "line"),
    [
        (["render", "a", "--steps", "999"], 2, "latentfarm: num_inference_steps: "),
        (["render"], 2, "latentfarm: prompt: required, but missing"),
        (["jobs", "list", "--api", "nonsense"], 2, "latentfarm: base_url: "),
        (["jobs", "show"], 2, "Usage: "),
        (["--version"], 0, ""),
    ],
)
def test_errors_are_one_line_and_a_status(words: list[str], status: int, line: str) -> None:
    ran = subprocess.run(
        [sys.executable, "-m", "latentfarm.cli.app", *words], capture_output=True, text=True, check=False
    )
    assert ran.returncode == status
    assert ran.stderr.startswith(line)
    assert "Traceback" not in ran.stderr
    if line.startswith("latentfarm"):
        assert len(ran.stderr.splitlines()) == 1


def run(script: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=False)


@pytest.mark.parametrize("module", ["latentfarm.client", "latentfarm.cli.app"])
def test_a_client_loads_neither_services_nor_machine_learning(module: str) -> None:
    heavy = "{'sqlalchemy', 'psycopg', 'celery', 'kombu', 'redis', 'boto3', 'torch', 'fastapi', 'structlog'}"
    ran = run(f"import sys, {module}; print(sorted({heavy} & set(sys.modules)))")
    assert (ran.stdout, ran.stderr) == ("[]\n", "")


def test_what_needs_more_than_the_client_says_so_in_one_line() -> None:
    hide = "import sys; sys.modules['sqlalchemy'] = None; sys.argv = ['latentfarm', 'doctor']"
    ran = run(f"{hide}; from latentfarm.cli.app import main; main()")
    assert ran.returncode == 1
    assert ran.stderr == (
        "latentfarm: no sqlalchemy: this needs more than the client; pip install 'latentfarm[all]'\n"
    )


def test_what_is_printed_cannot_steer_the_terminal(capsys: pytest.CaptureFixture[str]) -> None:
    columns([("id", "red\x1b[31m\nsecond line"), ("longer id", "x")])
    assert capsys.readouterr().out == "id         red [31m second line\nlonger id  x\n"
