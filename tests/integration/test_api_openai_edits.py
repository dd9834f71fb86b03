"""Edits, over a puppet in place of the workers: what becomes of their files, and in which size they come."""

from __future__ import annotations

import io
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Any

import pytest
from PIL import Image

from latentfarm.keys import input_key
from tests.drawing import picture
from tests.integration.pictures import RED, count
from tests.integration.test_api_openai import claimed

if TYPE_CHECKING:
    import httpx

    from latentfarm.repository.facade import Repository
    from latentfarm.storage import S3Store
    from tests.integration.serving import Puppet

EDITS = "/v1/images/edits"


def see_through(*box: int, shape: tuple[int, int] = (72, 64)) -> bytes:
    shown = Image.new("RGBA", shape, (0, 0, 0, 255))
    shown.paste((0, 0, 0, 0), (box[0], box[1], box[2], box[3]))
    buffer = io.BytesIO()
    shown.save(buffer, "png")
    return buffer.getvalue()


def test_an_edit_becomes_an_inpainting_job_of_the_pictures_size(
    http: httpx.Client, puppet: Puppet, store: S3Store, repository: Repository
) -> None:
    # Of random content, so that it is larger than a data URL may be.
    large = io.BytesIO()
    Image.effect_noise((72, 64), 90).convert("RGB").save(large, "png")
    files = {"image": ("x.png", large.getvalue()), "mask": ("m.png", see_through(8, 8, 24, 40))}
    fields = {"prompt": "a blue square", "strength": "0.5", "seed": "3", "refiner[mode]": "image"}
    jobs = list[str]()
    with ThreadPoolExecutor(1) as pool:
        for _ in range(2):
            headers = {"Idempotency-Key": "k"}
            asked = pool.submit(http.post, EDITS, data=fields, files=files, headers=headers)
            if not jobs:
                (one,) = claimed(puppet, 1)
                assert one.picture["refiner"]["mode"] == "image"
                puppet.hand_over([one])
                puppet.finish(claimed(puppet, 1))
            answer = asked.result(timeout=120)
            assert answer.status_code == 200, answer.text
            jobs.append(answer.json()["job"])
    assert jobs[0] == jobs[1]
    assert (count(repository, "jobs"), answer.json()["size"]) == (1, "72x64")
    spec = http.get(f"/v1/jobs/{jobs[0]}").json()["spec"]
    assert (spec["width"], spec["height"], spec["strength"], spec["seed"]) == (72, 64, 0.5, 3)
    image, mask = (
        store.read(input_key(bytes.fromhex(spec[name].removeprefix("sha256:"))), most=10**6)
        for name in ("image", "mask_image")
    )
    assert image == large.getvalue()
    shown = Image.open(io.BytesIO(mask or b""))
    assert (shown.mode, shown.getbbox()) == ("L", (8, 8, 24, 40))


@pytest.mark.parametrize(
    ("shape", "mask", "size"),
    [((400, 300), None, "144x112"), ((32, 32), None, "128x128"), ((400, 300), (0, 0, 40, 40), "144x112")],
)
def test_an_edit_of_a_picture_beyond_the_models_limits_has_its_proportions(
    http: httpx.Client,
    puppet: Puppet,
    shape: tuple[int, int],
    mask: tuple[int, int, int, int] | None,
    size: str,
) -> None:
    files = {"image": ("x.png", picture(*shape))}
    if mask is not None:
        files["mask"] = ("m.png", see_through(*mask, shape=shape))
    with ThreadPoolExecutor(1) as pool:
        asked = pool.submit(http.post, EDITS, data={"prompt": "a", "size": "auto"}, files=files)
        puppet.finish(claimed(puppet, 1))
        answer = asked.result(timeout=120)
    assert (answer.status_code, answer.json().get("size")) == (200, size), answer.text


@pytest.mark.parametrize(
    ("files", "fields", "param", "word"),
    [
        ({"image": b"no picture"}, {}, "image", "no PNG"),
        ({"image": RED, "mask": picture(64, 64)}, {}, "mask", "no alpha channel"),
        ({"image": picture(64, 64), "mask": see_through(0, 0, 9, 9)}, {}, "mask", "72x64"),
        ({"image": picture(32, 32)}, {"size": "32x32"}, "size", "64 to"),
        ({"image": picture(64, 64)}, {"size": "1x1"}, "size", "multiple of 8"),
        ({"image": picture(64, 64)}, {"image_url": "x"}, "image_url", "unknown field"),
        ({}, {}, "image", "0 pictures"),
    ],
)
def test_an_edit_that_cannot_be_is_refused_and_leaves_nothing(
    http: httpx.Client,
    repository: Repository,
    files: dict[str, bytes],
    fields: dict[str, str],
    param: str,
    word: str,
) -> None:
    parts: dict[str, Any] = {name: (f"{name}.png", data) for name, data in files.items()}
    answer = http.post(EDITS, data={"prompt": "a", **fields}, files=parts or {"x": (None, b"")})
    assert answer.status_code == 400, answer.text
    error = answer.json()["error"]
    assert error["param"] == param, error
    assert word in error["message"]
    assert [count(repository, table) for table in ("jobs", "inputs", "uploads")] == [0, 0, 0]
