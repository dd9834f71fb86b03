"""The stock `replicate` client, unmodified, with another base URL and any token, against a real farm.

The pictures are judged: an answer of the right shape around the wrong picture would be none.
"""

from __future__ import annotations

import asyncio
import hashlib
import io
import random
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import httpx
import numpy as np
import pytest
from PIL import Image
from replicate.client import Client
from replicate.exceptions import ReplicateError

from latentfarm import Client as Native
from latentfarm.pixels import open_picture
from tests.contract.stock.scenes import png, shows
from training.judge import look
from training.picture import plan_scene, render
from training.scene import Scene, Thing, caption

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from tests.acceptance.farm import Farm

SCENE = Scene(Thing("circle", "red", "large", "middle"), None, "white", "filled")
LIKE_OURS: dict[str, Any] = {
    "seed": 101,
    "num_inference_steps": 20,
    "guidance_scale": 5.0,
    "reproducible": True,
}
SMALL: dict[str, Any] = {"prompt": "a red circle", "width": 64, "height": 64, "num_inference_steps": 2}
SLOW: dict[str, Any] = {"prompt": "a red circle", "width": 256, "height": 256, "num_inference_steps": 200}
TINY = "latentfarm/tiny"


@pytest.fixture(scope="module")
def client(farm: Farm) -> Iterator[Client]:
    client = Client(api_token="any", base_url=f"{farm.url}/replicate")
    with client._client:  # it has no way of its own to be closed
        yield client


def fetched(output: Any) -> list[bytes]:
    """Over http the client leaves URLs as they are; they need no key."""
    return [httpx.get(url).raise_for_status().content for url in output]


def test_run_gives_what_the_prompt_says_bit_equal_to_the_native_picture(client: Client, farm: Farm) -> None:
    prompt = caption(SCENE)
    (data,) = fetched(client.run(TINY, input={"prompt": prompt, "scheduler": "K_EULER", **LIKE_OURS}))
    assert all(shows(data, SCENE).values()), shows(data, SCENE)
    with Native(farm.url) as native:
        job = native.submit({"prompt": prompt, **LIKE_OURS})
        ended = native.wait(job, timeout=300)
        assert ended.images[0].sha256 == hashlib.sha256(data).hexdigest()


def test_run_takes_a_version_and_gives_several_pictures(client: Client) -> None:
    version = client.models.get(TINY).latest_version
    assert version is not None
    inputs = {"prompt": caption(SCENE), "num_outputs": 2, "num_inference_steps": 20, "seed": 101}
    output = client.run(f"{TINY}:{version.id}", input={**inputs, "output_format": "webp"})
    files = fetched(output)
    assert len(set(files)) == 2
    for data in files:
        assert Image.open(io.BytesIO(data)).format == "WEBP"
        seen = shows(data, SCENE)
        assert (seen["colour"], seen["shape"]) == (True, True), seen


def test_models_are_those_of_the_registry(client: Client) -> None:
    assert {model.id for model in client.models.list()} == {TINY, "latentfarm/sdxl"}
    (version,) = client.models.get(TINY).versions.list()
    assert "prompt_strength" in version.openapi_schema["components"]["schemas"]["Input"]["properties"]
    with pytest.raises(ReplicateError, match="latentfarm/sdxl, latentfarm/tiny"):
        client.models.get("stability-ai/sdxl")


def test_a_prediction_is_made_waited_for_read_and_listed(client: Client) -> None:
    version = client.models.get(TINY).latest_version
    assert version is not None
    prediction = client.predictions.create(version=version, input=SMALL)
    assert (prediction.status, prediction.output, prediction.completed_at) == ("starting", None, None)
    prediction.wait()
    assert (prediction.status, prediction.error) == ("succeeded", None)
    assert prediction.progress is not None
    assert (prediction.progress.current, prediction.progress.total) == (1, 1)
    assert (prediction.metrics or {})["predict_time"] > 0
    again = client.predictions.get(prediction.id)
    assert (again.version, again.model, again.created_at) == (version.id, TINY, prediction.created_at)
    assert again.input is not None
    (data,) = fetched(again.output)
    # What is told of a prediction makes it again.
    (same,) = fetched(client.run(TINY, input={**again.input, "reproducible": False}))
    assert np.abs(np.asarray(open_picture(same), int) - np.asarray(open_picture(data), int)).max() <= 8
    assert prediction.id in [one.id for one in client.predictions.list()]


def test_a_wait_that_is_too_short_goes_on_by_asking(client: Client) -> None:
    made = client.models.predictions.create(TINY, input=SLOW, wait=1)
    assert made.status == "starting"
    made.cancel()
    assert (made.status, made.output) == ("canceled", None)
    made.wait()
    assert client.predictions.get(made.id).status == "canceled"
    (data,) = fetched(client.run(TINY, input={**SMALL, "num_inference_steps": 60}, wait=1))
    assert open_picture(data).size == (64, 64)


def test_an_open_file_is_uploaded_and_only_what_the_mask_shows_is_painted(
    client: Client, tmp_path: Path
) -> None:
    scene = Scene(Thing("circle", "red", "large", "left"), None, "white", "filled")
    drawn = render(plan_scene(scene, random.Random(100)))
    mask = Image.new("L", drawn.size, 0)
    half = (72, 0, 128, 128)
    mask.paste(255, half)
    drawn.save(tmp_path / "scene.png")
    inputs = {
        "prompt": caption(replace(scene, second=Thing("square", "blue", "small", "right"))),
        "mask": io.BytesIO(png(mask)),
        "prompt_strength": 1.0,
        "guidance_scale": 5.0,
        "num_inference_steps": 12,
        "seed": 100,
    }
    with (tmp_path / "scene.png").open("rb") as file:
        (data,) = fetched(client.run(TINY, input={**inputs, "image": file}))
    painted = open_picture(data)
    main = look(painted.crop(half)).main
    assert main is not None
    assert main.colour == "blue"
    # 6 of 255 is what passing through the VAE costs, 16 pixels and more from the mask.
    kept = [np.asarray(one.convert("RGB"), np.float32)[:, :56] for one in (painted, drawn)]
    assert float(np.abs(kept[0] - kept[1]).mean()) <= 6


@pytest.mark.parametrize("strategy", ["base64", "url"])
def test_a_picture_stays_near_itself_however_it_is_sent(client: Client, strategy: Any) -> None:
    drawn = render(plan_scene(SCENE, random.Random(100)))
    inputs = {"prompt": caption(SCENE), "image": io.BytesIO(png(drawn)), "prompt_strength": 0.25, "seed": 1}
    made = client.run(TINY, input={**inputs, "num_inference_steps": 12}, file_encoding_strategy=strategy)
    (data,) = fetched(made)
    assert shows(data, SCENE)["colour"]
    assert data != png(drawn)


def test_files_are_listed_read_and_deleted(client: Client) -> None:
    made = client.files.create(io.BytesIO(png(Image.new("RGB", (64, 64), "red"))))
    assert client.files.get(made.id) == made
    assert made.id in [file.id for file in client.files.list()]
    assert client.files.delete(made.id)
    with pytest.raises(ReplicateError, match="no file"):
        client.files.get(made.id)


def test_the_asynchronous_client_does_the_same(farm: Farm) -> None:
    async def run() -> Any:
        client = Client(api_token="any", base_url=f"{farm.url}/replicate")
        async with client._async_client:
            return await client.async_run(TINY, input=SMALL)

    (data,) = fetched(asyncio.run(run()))
    assert open_picture(data).size == (64, 64)


@pytest.mark.parametrize(
    ("inputs", "field"),
    [
        ({"width": 1024}, "input.width"),
        ({"scheduler": "magic"}, "input.scheduler"),
        ({"num_outputs": 11}, "input.num_outputs"),
        ({"negativ_prompt": "x"}, "input.negativ_prompt"),
    ],
)
def test_what_is_wrong_is_named(client: Client, inputs: dict[str, Any], field: str) -> None:
    with pytest.raises(ReplicateError) as raised:
        client.run(TINY, input={**SMALL, **inputs})
    assert (raised.value.status, raised.value.title) == (422, "Input validation failed")
    assert field in (raised.value.detail or "")
