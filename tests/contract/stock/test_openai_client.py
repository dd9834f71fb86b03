"""The stock `openai` client, unmodified, with another base URL and any key, against a real farm.

The pictures are judged: an answer of the right shape around the wrong picture would be none.
"""

from __future__ import annotations

import base64
import hashlib
import io
import random
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import httpx
import numpy as np
import openai
import pytest
from openai import OpenAI
from PIL import Image

from latentfarm import Client
from latentfarm.pixels import open_picture
from latentfarm.provenance import read_provenance
from latentfarm.repository import tenants
from tests.contract.stock.scenes import png, shows
from training.judge import look
from training.picture import plan_scene, render
from training.scene import Scene, Thing, caption

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.acceptance.farm import Farm

SCENE = Scene(Thing("circle", "red", "large", "middle"), None, "white", "filled")
LIKE_OURS: dict[str, Any] = {"seed": 101, "num_inference_steps": 20, "reproducible": True}


@pytest.fixture(scope="module")
def client(farm: Farm) -> Iterator[OpenAI]:
    with OpenAI(base_url=f"{farm.url}/v1", api_key="any") as client:
        yield client


def file_of(image: Any) -> bytes:
    return base64.b64decode(image.b64_json, validate=True)


def test_the_models_are_those_of_the_registry(client: OpenAI) -> None:
    assert {model.id for model in client.models.list()} == {"tiny", "sdxl"}
    model = client.models.retrieve("tiny")
    assert (model.id, model.object, model.owned_by) == ("tiny", "model", "latentfarm")
    assert model.created > 1_600_000_000
    with pytest.raises(openai.NotFoundError, match="sdxl, tiny"):
        client.models.retrieve("gpt-image-1")


def test_a_picture_is_what_its_prompt_says_and_bit_equal_to_the_native_one(
    client: OpenAI, farm: Farm
) -> None:
    prompt = caption(SCENE)
    made = client.images.generate(model="tiny", prompt=prompt, size="128x128", extra_body=LIKE_OURS)
    (image,) = made.data or []
    data = file_of(image)
    assert all(shows(data, SCENE).values()), shows(data, SCENE)
    assert (made.size, made.output_format, made.quality, made.background) == (
        "128x128",
        "png",
        "medium",
        "opaque",
    )
    assert (image.url, image.revised_prompt, made.usage) == (None, None, None)
    with Client(farm.url) as native:
        job = native.submit({"prompt": prompt, "width": 128, "height": 128, **LIKE_OURS})
        ended = native.wait(job, timeout=300)
        assert ended.images[0].sha256 == hashlib.sha256(data).hexdigest()
    with client.images.generate(
        prompt=prompt, size="128x128", stream=True, partial_images=2, extra_body=LIKE_OURS
    ) as stream:
        *partial, event = list(stream)
    assert {one.type for one in partial} <= {"image_generation.partial_image"}
    assert event.type == "image_generation.completed"
    assert file_of(event) == data
    assert (event.size, event.output_format, event.usage.total_tokens) == ("128x128", "png", 0)


def test_partial_images_come_before_the_image_and_are_like_it(client: OpenAI) -> None:
    # Many steps: whoever asks is heard of within a second.
    longer = {"num_inference_steps": 60, "seed": 3}
    with client.images.generate(
        model="tiny", prompt=caption(SCENE), size="128x128", stream=True, partial_images=3, extra_body=longer
    ) as stream:
        *partial, last = list(stream)
    assert [event.type for event in partial] == ["image_generation.partial_image"] * len(partial)
    assert 1 <= len(partial) <= 3
    assert [vars(event)["partial_image_index"] for event in partial] == list(range(len(partial)))
    assert (last.type, last.output_format) == ("image_generation.completed", "png")
    image = np.asarray(open_picture(file_of(last)), dtype=float)
    for event in partial:
        assert event.output_format == "jpeg"
        assert len(file_of(event)) <= 32 * 1024
        seen = np.asarray(Image.open(io.BytesIO(file_of(event))).convert("RGB"), dtype=float)
        assert np.corrcoef(seen.ravel(), image.ravel())[0, 1] > 0.7
    with client.images.generate(
        model="tiny", prompt=caption(SCENE), size="128x128", stream=True, extra_body=longer
    ) as plain:
        (alone,) = list(plain)
    assert file_of(alone) == file_of(last)


def test_several_pictures_come_as_links_and_have_their_own_seeds(client: OpenAI) -> None:
    made = client.images.generate(
        model="tiny",
        prompt=caption(SCENE),
        n=2,
        response_format="url",
        output_format="webp",
        output_compression=95,
        user="u-1",
        extra_body={"num_inference_steps": 20, "seed": 101},
    )
    files = [httpx.get(image.url or "").content for image in made.data or []]
    assert len(set(files)) == 2
    for index, data in enumerate(files):
        assert Image.open(io.BytesIO(data)).format == "WEBP"
        seen = shows(data, SCENE)
        assert (seen["colour"], seen["shape"]) == (True, True), seen
        told = read_provenance(data)
        assert told["seed"] == 101 + index


def test_an_edit_paints_where_the_mask_is_transparent_and_nowhere_else(client: OpenAI) -> None:
    scene = Scene(Thing("circle", "red", "large", "left"), None, "white", "filled")
    drawn = render(plan_scene(scene, random.Random(100)))
    mask = Image.new("RGBA", drawn.size, (0, 0, 0, 255))
    half = (72, 0, 128, 128)
    mask.paste((0, 0, 0, 0), half)
    made = client.images.edit(
        image=("scene.png", png(drawn), "image/png"),
        mask=("mask.png", png(mask), "image/png"),
        prompt=caption(replace(scene, second=Thing("square", "blue", "small", "right"))),
        extra_body={"seed": 100, "num_inference_steps": 12, "strength": 1.0, "guidance_scale": 5.0},
    )
    painted = open_picture(file_of((made.data or [])[0]))
    assert (made.size, painted.size) == ("128x128", (128, 128))
    main = look(painted.crop(half)).main
    assert main is not None
    assert main.colour == "blue"
    # 6 of 255 is what passing through the VAE costs, 16 pixels and more from the mask.
    kept = [np.asarray(one.convert("RGB"), np.float32)[:, :56] for one in (painted, drawn)]
    assert float(np.abs(kept[0] - kept[1]).mean()) <= 6


def test_an_edit_without_a_mask_is_streamed_and_stays_near_its_picture(client: OpenAI) -> None:
    drawn = render(plan_scene(SCENE, random.Random(100)))
    with client.images.edit(
        image=[("scene.png", png(drawn), "image/png")],
        prompt=caption(SCENE),
        stream=True,
        extra_body={"seed": 1, "num_inference_steps": 12, "strength": 0.25},
    ) as stream:
        (event,) = list(stream)
    assert (event.type, event.size) == ("image_edit.completed", "128x128")
    data = file_of(event)
    assert shows(data, SCENE)["colour"]
    assert data != png(drawn)


@pytest.mark.parametrize(
    ("fields", "error", "param"),
    [
        ({"model": "gpt-image-1"}, openai.NotFoundError, "model"),
        ({"size": "1024x1024"}, openai.BadRequestError, "size"),
        ({"n": 11}, openai.BadRequestError, "n"),
        ({"background": "transparent"}, openai.BadRequestError, "background"),
        ({"extra_body": {"num_inference_steps": 0}}, openai.BadRequestError, "num_inference_steps"),
        ({"extra_headers": {"Idempotency-Key": "k" * 256}}, openai.BadRequestError, "Idempotency-Key"),
    ],
)
def test_what_is_wrong_raises_the_class_that_one_expects(
    client: OpenAI, fields: dict[str, Any], error: type[openai.APIStatusError], param: str
) -> None:
    with pytest.raises(error) as raised:
        client.images.generate(**{"prompt": "a", "model": "tiny", **fields})
    assert raised.value.param == param
    assert raised.value.type == "invalid_request_error"
    assert raised.value.code


def test_a_tenant_at_its_limit_is_told_when_to_come_again(client: OpenAI, farm: Farm) -> None:
    farm.repository.transact(lambda c: tenants.change(c, "small", {"max_queued": 1}))
    # Else the client does come again, and the test waits as long as it is told to.
    once = client.with_options(max_retries=0, default_headers={"X-Latentfarm-Tenant": "small"})
    with pytest.raises(openai.RateLimitError, match="renders wait already") as raised:
        once.images.generate(prompt="a", n=2)
    assert int(raised.value.response.headers["retry-after"]) > 0


def test_a_key_makes_one_job_of_two_requests(client: OpenAI, farm: Farm) -> None:
    jobs = "SELECT count(*) FROM jobs"
    before = farm.count(jobs)
    made = [
        client.images.generate(
            prompt="a red circle",
            size="64x64",
            extra_body={"num_inference_steps": 2},
            extra_headers={"Idempotency-Key": "only-once-here"},
        )
        for _ in range(2)
    ]
    assert made[0].data == made[1].data
    assert farm.count(jobs) == before + 1
