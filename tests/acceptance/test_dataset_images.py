"""Images of datasets, as stock readers find them in each layout: the same ones, those that single renders give, of what was asked."""

from __future__ import annotations

import hashlib
import io
import json
import random
import subprocess
import sys
from typing import TYPE_CHECKING, Any

import pytest
from PIL import Image

from latentfarm import Client
from latentfarm.client_pull import pull
from training.judge import confirms, look
from training.scene import caption, random_scene
from worker.seal.shard import Layout

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from tests.acceptance.farm import Farm

pytestmark = pytest.mark.clock

FIELDS = {"model": "tiny", "num_inference_steps": 20, "reproducible": True}
SEED = 3
MANY = 1_000
"""From so many images on two workers make them."""
SINGLES = 20
"""Of so many images one is rendered once more, by itself."""
RIGHT = 0.8
"""Of images as a whole, at least so many show all that their caption says; single renders of tiny do so more often."""
READER = """
import hashlib, io, json, sys, webdataset
from PIL import Image

def pixels(data):
    return hashlib.sha256(Image.open(io.BytesIO(data)).convert("RGB").tobytes()).hexdigest()

found = webdataset.WebDataset(sys.argv[1:], shardshuffle=False, empty_check=False)
print(json.dumps([[one["txt"].decode(), pixels(one["png"])] for one in found]))
"""


def _pixels(image: Image.Image) -> str:
    return hashlib.sha256(image.convert("RGB").tobytes()).hexdigest()


def _make(client: Client, layout: Layout, captions: list[str], folder: Path) -> Path:
    """Has a dataset rendered and packed, and pulls it."""
    name, images = layout.value, len(captions)
    asked = {
        "name": name,
        "manifest": {"prompts": captions},
        "defaults": FIELDS,
        "seed": SEED,
        "layout": name,
    }
    client.datasets.create({**asked, "shard_samples": max(5, images // 8)})
    assert client.datasets.wait(name, timeout=60 + images).state == "succeeded"
    assert not pull(client.datasets, name, folder / name, lambda _: None).wrong
    return folder / name


def _read(
    place: Path, layout: Layout, cache: Path, see: Callable[[str, Image.Image], None]
) -> dict[str, str]:
    """The pixels' digest of each caption's image, as `load_dataset` finds them; no caption comes twice."""
    import datasets

    found = datasets.load_dataset(
        layout.value, data_dir=str(place / "data"), split="train", cache_dir=str(cache)
    )
    digests = {}
    for sample in found:
        image = sample.get("png") or sample["image"]
        text = sample["txt"] if "txt" in sample else sample["text"]
        digests[text] = _pixels(image)
        see(text, image)
    assert len(digests) == len(found)
    return digests


def _read_by_webdataset(place: Path) -> dict[str, str]:
    # In a process of its own: it leaves its files to be closed by the garbage collector.
    urls = [str(path) for path in sorted((place / "data").iterdir())]
    done = subprocess.run([sys.executable, "-c", READER, *urls], capture_output=True, text=True, check=True)
    return dict(json.loads(done.stdout))


@pytest.mark.parametrize("images", [12, pytest.param(2_000, marks=pytest.mark.long)])
def test_every_layout_gives_the_images_of_single_renders(farm: Farm, tmp_path: Path, images: int) -> None:
    rng = random.Random(11)
    scenes: dict[str, Any] = {}
    while len(scenes) < images:
        scene = random_scene(rng, pair_share=0.0)
        scenes.setdefault(caption(scene), scene)
    captions = list(scenes)
    farm.scheduler()
    for _ in range(1 if images < MANY else 2):
        farm.worker("base,refine", LATENTFARM_ENGINE="worker.assembly:load")
    farm.worker("seal")
    farm.api()
    right: list[bool] = []

    def judge(text: str, image: Image.Image) -> None:
        right.append(all(confirms(look(image.convert("RGB")), scenes[text]).values()))

    with Client(farm.url) as client:
        places = {layout: _make(client, layout, captions, tmp_path) for layout in Layout}
        chosen = range(images // 2, images, SINGLES)
        jobs = {n: client.submit({**FIELDS, "prompt": captions[n], "seed": SEED + n}) for n in chosen}
        singles = {n: client.download(client.wait(job.id), tmp_path / str(n)) for n, job in jobs.items()}
    found = {layout: _read(place, layout, tmp_path / "cache", judge) for layout, place in places.items()}
    assert found[Layout.WEBDATASET] == found[Layout.IMAGEFOLDER] == found[Layout.PARQUET]
    assert found[Layout.WEBDATASET] == _read_by_webdataset(places[Layout.WEBDATASET])
    assert sorted(found[Layout.WEBDATASET]) == sorted(captions)
    for n, files in singles.items():
        (single,) = files.values()
        with Image.open(io.BytesIO(single.read_bytes())) as image:
            assert _pixels(image) == found[Layout.WEBDATASET][captions[n]], captions[n]
    assert sum(right) >= RIGHT * 3 * images, f"{sum(right)} of {3 * images} images show what was asked for"
