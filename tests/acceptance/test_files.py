"""Files as users get them: every format, what they say about themselves, and rendered again."""

from __future__ import annotations

import io
import os
import subprocess
import sys
from typing import TYPE_CHECKING

import pytest
from PIL import Image

from latentfarm import Client, RenderSpec
from latentfarm.provenance import CHUNK, read_provenance
from tests.acceptance.farm import ROOT

if TYPE_CHECKING:
    from pathlib import Path

    from tests.acceptance.farm import Farm


def command(farm: Farm, *words: str) -> subprocess.CompletedProcess[str]:
    environment = {**os.environ, "LATENTFARM_API_URL": farm.url}
    return subprocess.run(
        [sys.executable, "-m", "latentfarm.cli.app", *words],
        cwd=ROOT,
        env=environment,
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )


def altered(path: Path, value: int) -> Path:
    """The same file with one pixel changed, and all that it says about itself kept."""
    from PIL.PngImagePlugin import PngInfo

    info = PngInfo()
    with Image.open(path) as image:
        info.add_text(CHUNK, str(image.info[CHUNK]))
        image.putpixel((1, 1), tuple(channel + value for channel in image.getpixel((1, 1))))  # type: ignore[union-attr]
        other = path.with_name("altered.png")
        image.save(other, pnginfo=info)
    return other


def test_every_format_comes_out_whole_and_can_be_made_again(farm: Farm, tmp_path: Path) -> None:
    farm.api()
    farm.scheduler()
    farm.worker()
    with Client(farm.url) as client:
        paths = {}
        for kind, quality in (("png", None), ("webp", 70), ("jpeg", 60)):
            spec = RenderSpec.model_validate(
                {"prompt": f"a {kind}", "seed": 40, "num_images": 2, "num_inference_steps": 2}
                | {"output": {"format": kind, "quality": quality}}
            )
            job = client.wait(client.submit(spec), timeout=60)
            assert job.state == "succeeded"
            paths[kind] = client.download(job, tmp_path / "out")[1]
    for kind, path in paths.items():
        data = path.read_bytes()
        with Image.open(io.BytesIO(data)) as image:
            assert (image.format or "").lower() == kind
        found = read_provenance(data)
        assert (found["seed"], found["spec"]["prompt"]) == (41, f"a {kind}")
        ran = command(farm, "replay", str(path), "-o", str(tmp_path / f"again.{kind}"))
        assert (ran.stdout, ran.returncode) == ("bit-equal\n", 0), ran.stderr
        assert (tmp_path / f"again.{kind}").read_bytes() == data
    ran = command(farm, "replay", str(altered(paths["png"], 5)))
    assert (ran.stdout, ran.returncode) == ("largest difference 5/255\n", 1)
    sheet = tmp_path / "sheet.png"
    ran = command(farm, "grid", str(job.id), "-o", str(sheet), "--side", "16")
    assert ran.returncode == 0, ran.stderr
    assert ran.stdout.startswith(f"{sheet}: 2 pictures")


@pytest.mark.parametrize("content", [b"no image", None])
def test_a_file_that_says_nothing_cannot_be_made_again(
    farm: Farm, tmp_path: Path, content: bytes | None
) -> None:
    path = tmp_path / "x.png"
    if content is None:
        Image.new("RGB", (8, 8)).save(path)
    else:
        path.write_bytes(content)
    ran = command(farm, "replay", str(path))
    assert (ran.returncode, ran.stdout) == (2, "")
    assert ran.stderr.startswith("latentfarm: file: ")
