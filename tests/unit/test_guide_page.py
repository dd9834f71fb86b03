"""How docs/guide.md is read, and what stands in for its models."""

from __future__ import annotations

import tomllib
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from benchmarks.guidebook.page import PAGE, ROOT, read
from benchmarks.guidebook.stand_in import on_this_machine, registry
from latentfarm.registry import load_registry

if TYPE_CHECKING:
    from latentfarm.spec import RenderSpec

TINY = ROOT / "models" / "tiny"
TABLE = "<table><tr><td>\n\n```python\nleft()\n```\n\n</td><td>\n\n```python\nright()\n```\n\n</td></tr></table>\n"


def test_a_table_is_one_block_with_two_columns() -> None:
    page = f"# T\n\n## Part\n\n![It](guide/part.png)\n\n### One\n\n{TABLE}\n```sh\nlatentfarm x\n```\n"
    (section,) = read(page)
    assert (section.title, section.sheet) == ("Part", "guide/part.png")
    both, shell = section.blocks
    assert (both.kind, both.title, both.code, both.farm) == ("both", "One", "left()\n", "right()\n")
    assert (shell.kind, shell.code) == ("shell", "latentfarm x\n")


@pytest.mark.parametrize(
    "block",
    [
        "```rust\nfn\n```\n",
        TABLE.replace("```python\nright()\n```\n", ""),
        TABLE.replace("</td></tr>", "```python\nthird()\n```\n</td></tr>"),
    ],
)
def test_what_nobody_would_run_is_refused(block: str) -> None:
    with pytest.raises(ValueError, match="One"):
        read(f"## Part\n### One\n{block}")


def test_the_page_has_every_part_of_the_guide() -> None:
    sections = read(PAGE.read_text())
    assert [section.title for section in sections] == [
        "Load checkpoints",
        "Text-to-image",
        "Image-to-image",
        "Inpainting",
        "Refine image quality",
        "Micro-conditioning",
        "A prompt for each text encoder",
        "Optimizations",
        "LoRAs and textual inversion",
        "Few steps",
    ]
    for section in sections:
        assert section.sheet, section.title
        assert any(block.farm for block in section.blocks), section.title


def test_the_pages_jobs_name_fields_and_models_that_exist() -> None:
    sections = read(PAGE.read_text())
    models = tomllib.loads(registry(sections, TINY))["models"]
    specs: list[RenderSpec] = []

    class Farm:
        def submit(self, spec: RenderSpec) -> None:
            specs.append(spec)

        def upload(self, _path: str) -> str:
            return f"sha256:{'00' * 32}"

        def wait(self, _job: None) -> None: ...

        def download(self, _job: None, _folder: str) -> None: ...

    session: dict[str, object] = {}
    for block in (block for section in sections for block in section.blocks if block.farm):
        exec(block.farm.replace("Client()", "None"), session)
        session["farm"] = Farm()
    assert len(specs) > 20
    assert {spec.model for spec in specs} == set(models)


def test_code_is_made_smaller_and_local() -> None:
    code = (
        'a("stabilityai/stable-diffusion-xl-base-1.0",\n    dtype=torch.float16,\n    variant="fp16",\n'
        '    b=0.85, c=(1024, 64), d=25).to("cuda")\nfarm = Client()\n'
    )
    assert on_this_machine(code, Path("/t"), "http://f") == (
        'a("/t/base",\n    dtype=torch.float32,\n'
        '    b=0.85, c=(128, 8), d=25).to("cpu")\nfarm = Client("http://f")\n'
    )


def test_the_entries_are_tinys_with_a_bucket_of_one(tmp_path: Path) -> None:
    file = tmp_path / "models.toml"
    file.write_text(registry(read(PAGE.read_text()), TINY))
    entries = load_registry(file).entries
    assert entries["sdxl"].refiner == str(TINY / "refiner")
    assert set(entries["sdxl"].loras) == {"blue-for-red"}
    assert entries["turbo"].native_size == (64, 64)
    assert entries["quick"].speed.fused_projections
    assert {entry.bucket for entry in entries.values()} == {1}


def test_pictures_leave_room_in_a_repository() -> None:
    assert sum(file.stat().st_size for file in (ROOT / "docs").rglob("*.png")) < 400_000
