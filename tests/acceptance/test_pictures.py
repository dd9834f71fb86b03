"""Pictures in, pictures out: the tiny model in a real worker, driven by the command line."""

from __future__ import annotations

from itertools import pairwise
from typing import TYPE_CHECKING

import pytest
from PIL import Image

from latentfarm import Client
from latentfarm.keys import input_key
from latentfarm.pixels import largest_difference, open_picture
from latentfarm.provenance import read_provenance
from tests.acceptance.test_files import command

if TYPE_CHECKING:
    from pathlib import Path

    from latentfarm.storage import S3Store
    from tests.acceptance.farm import Farm

SHORT = ("--steps", "4", "--seed", "3", "--reproducible", "--strength", "0.5")


@pytest.fixture
def painting(farm: Farm, tmp_path: Path) -> Farm:
    """A farm with the real engine, and two files to start from."""
    farm.environment["LATENTFARM_ENGINE"] = "worker.assembly:load"
    farm.api()
    farm.scheduler()
    farm.worker()
    Image.effect_mandelbrot((64, 64), (-2, -1.5, 1, 1.5), 60).convert("RGB").save(tmp_path / "image.png")
    mask = Image.new("L", (64, 64), 0)
    mask.paste(255, (32, 0, 64, 64))
    mask.save(tmp_path / "mask.png")
    return farm


def render(farm: Farm, out: Path, *words: str) -> bytes:
    ran = command(farm, "render", "a red circle", *SHORT, *words, "-o", str(out))
    assert ran.returncode == 0, ran.stderr
    (file,) = out.iterdir()
    return file.read_bytes()


def test_a_picture_goes_in_and_another_comes_out(painting: Farm, tmp_path: Path) -> None:
    given = (tmp_path / "image.png").read_bytes()
    image, mask = ("--image", str(tmp_path / "image.png")), ("--mask", str(tmp_path / "mask.png"))
    changed = render(painting, tmp_path / "changed", *image)
    painted = render(painting, tmp_path / "painted", *image, *mask, "--width", "64", "--height", "64")
    refined = render(
        painting, tmp_path / "refined", *image, *mask, "--width", "64", "--height", "64", "--refiner"
    )
    shown = [open_picture(data) for data in (given, changed, painted, refined)]
    for one, other in pairwise(shown):
        assert one.size == other.size == (64, 64)
        assert largest_difference(one, other) > 8
    for data in (changed, painted, refined):
        assert read_provenance(data)["spec"]["image"].startswith("sha256:")
    for folder in ("changed", "painted", "refined"):
        (file,) = (tmp_path / folder).iterdir()
        ran = command(painting, "replay", str(file))
        assert (ran.stdout, ran.returncode) == ("bit-equal\n", 0), ran.stderr


@pytest.mark.parametrize("ruin", ["gone", pytest.param("altered", marks=pytest.mark.long)])
def test_a_picture_that_is_gone_ends_the_job_with_the_reason(
    farm: Farm, store: S3Store, tmp_path: Path, ruin: str
) -> None:
    farm.api()
    farm.scheduler()
    Image.new("RGB", (64, 64), (1, 2, len(ruin))).save(tmp_path / "image.png")
    with Client(farm.url) as client:
        upload = client.upload(tmp_path / "image.png")
        job = client.submit({"prompt": "a", "image": upload, "num_images": 2})
        key = input_key(bytes.fromhex(job.spec["image"].removeprefix("sha256:")))
        if ruin == "gone":
            store.delete([key])
        else:
            store.put(key, b"another", "image/png")
        farm.worker()
        ended = client.wait(job, timeout=60)
    assert ended.state == "failed"
    assert all((image.error or "").startswith("input: image: ") for image in ended.images)
    assert farm.count("SELECT max(starts) FROM renders") == 1
