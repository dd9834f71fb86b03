"""The stock `InferenceClient` of huggingface_hub, unmodified, with a URL for a model, against a real farm.

The pictures are judged: an answer of the right shape around the wrong picture would be none.
"""

from __future__ import annotations

import random
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from huggingface_hub import ImageToImageTargetSize, InferenceClient, close_session
from huggingface_hub.errors import HfHubHTTPError
from PIL import Image

from latentfarm import Client as Native
from latentfarm.pixels import open_picture
from tests.contract.stock.scenes import png
from training.judge import confirms, look
from training.picture import plan_scene, render
from training.scene import Scene, Thing, caption

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from tests.acceptance.farm import Farm

SCENE = Scene(Thing("circle", "red", "large", "middle"), None, "white", "filled")


@pytest.fixture(scope="module")
def client(farm: Farm) -> Iterator[InferenceClient]:
    with InferenceClient(base_url=f"{farm.url}/huggingface/models/tiny", token="any") as client:
        yield client
    close_session()


def shows(image: Image.Image, scene: Scene) -> dict[str, bool]:
    return confirms(look(image.convert("RGB")), scene)


def test_a_picture_is_what_its_prompt_says_and_equal_to_the_native_one(
    client: InferenceClient, farm: Farm, tmp_path: Path
) -> None:
    prompt = caption(SCENE)
    made = client.text_to_image(
        prompt,
        height=128,
        width=128,
        num_inference_steps=20,
        guidance_scale=5.0,
        scheduler="EulerDiscreteScheduler",
        seed=101,
        extra_body={"reproducible": True},
    )
    assert (made.format, made.size) == ("PNG", (128, 128))
    assert all(shows(made, SCENE).values()), shows(made, SCENE)
    with Native(farm.url) as native:
        like = {"seed": 101, "num_inference_steps": 20, "guidance_scale": 5.0, "reproducible": True}
        job = native.submit({"prompt": prompt, "width": 128, "height": 128, **like})
        native.wait(job, timeout=300)
        (path,) = native.download(job, tmp_path).values()
        assert np.array_equal(np.asarray(open_picture(path.read_bytes())), np.asarray(made))


def test_parameters_and_fields_of_a_spec_have_an_effect(client: InferenceClient) -> None:
    small: dict[str, Any] = {"height": 64, "width": 72, "num_inference_steps": 3, "seed": 1}
    plain = client.text_to_image("a red circle", **small)
    assert plain.size == (72, 64)
    others = [
        client.text_to_image("a red circle", negative_prompt="a blue square", **small),
        client.text_to_image("a red circle", scheduler="ddim", **small),
        client.text_to_image("a red circle", extra_body={"output": {"format": "webp"}}, **small),
    ]
    assert others[-1].format == "WEBP"
    for other in others[:2]:
        assert not np.array_equal(np.asarray(other), np.asarray(plain))


def test_a_picture_stays_near_itself(client: InferenceClient) -> None:
    drawn = render(plan_scene(SCENE, random.Random(100)))
    made = client.image_to_image(
        png(drawn), prompt=caption(SCENE), num_inference_steps=12, strength=0.25, seed=1
    )
    assert made.size == drawn.size
    assert shows(made, SCENE)["colour"]
    assert not np.array_equal(np.asarray(made.convert("RGB")), np.asarray(drawn.convert("RGB")))


@pytest.mark.parametrize("target", [ImageToImageTargetSize(128, 128), None])
def test_a_picture_may_be_a_photograph_of_several_megabytes(
    client: InferenceClient, target: ImageToImageTargetSize | None
) -> None:
    """Without a size, too, which for this model would be beyond its limits."""
    drawn = render(plan_scene(SCENE, random.Random(100))).resize((1024, 1024))
    grain = np.random.default_rng(1).integers(-6, 7, (1024, 1024, 3))
    photo = png(Image.fromarray(np.clip(np.asarray(drawn, int) + grain, 0, 255).astype(np.uint8)))
    assert len(photo) > 2**20
    asked: dict[str, Any] = {"prompt": caption(SCENE), "num_inference_steps": 12, "strength": 0.25, "seed": 1}
    made = client.image_to_image(photo, target_size=target, **asked)
    assert made.size == (128, 128)
    assert shows(made, SCENE)["colour"]


@pytest.mark.parametrize(
    ("fields", "status", "told"),
    [
        ({"width": 1024}, 422, "width: 1024 pixels"),
        ({"scheduler": "magic"}, 422, "scheduler: no sampler"),
        ({"extra_body": {"negativ_prompt": "x"}}, 422, "did you mean negative_prompt?"),
    ],
)
def test_what_is_wrong_is_named(
    client: InferenceClient, fields: dict[str, Any], status: int, told: str
) -> None:
    with pytest.raises(HfHubHTTPError) as raised:
        client.text_to_image("a", **fields)
    assert raised.value.response.status_code == status
    assert told in str(raised.value)


def test_a_model_that_is_not_there_is_named(farm: Farm) -> None:
    with (
        InferenceClient(model=f"{farm.url}/huggingface/models/none", token="any") as client,
        pytest.raises(HfHubHTTPError, match="there are: sdxl, tiny"),
    ):
        client.text_to_image("a")


def test_a_key_makes_one_job_of_two_requests(farm: Farm) -> None:
    jobs = "SELECT count(*) FROM jobs"
    before = farm.count(jobs)
    url = f"{farm.url}/huggingface/models/tiny"
    with InferenceClient(model=url, token="any", headers={"Idempotency-Key": "only-once"}) as client:
        made = [
            client.text_to_image("a red circle", height=64, width=64, num_inference_steps=2) for _ in range(2)
        ]
    assert np.array_equal(np.asarray(made[0]), np.asarray(made[1]))
    assert farm.count(jobs) == before + 1
