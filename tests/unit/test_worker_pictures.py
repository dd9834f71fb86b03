"""Kept bytes -> the pictures that an engine takes."""

from __future__ import annotations

import hashlib
import io
from uuid import UUID

import pytest
from diffusers.utils.loading_utils import load_image
from PIL import Image, ImageChops

from latentfarm.errors import ErrorClass, InputError, LatentsError, TransientError
from latentfarm.keys import input_key
from latentfarm.records import Claimed, ObjectRef
from latentfarm.references import content
from latentfarm.spec import RenderSpec
from latentfarm.states import Lane, Stage
from tests.drawing import picture
from worker.pictures import KEPT, Pictures


class Bucket:
    """Objects by key, and how often each was read."""

    def __init__(self, *files: bytes) -> None:
        self.objects = {input_key(hashlib.sha256(data).digest()): data for data in files}
        self.reads = 0

    def get(self, ref: ObjectRef) -> bytes:
        self.reads += 1
        if ref.key not in self.objects:
            raise LatentsError(f"{ref.key} is not in the bucket")
        return self.objects[ref.key]


def claimed(*files: bytes) -> Claimed:
    digests = [hashlib.sha256(data).digest() for data in files]
    refs = {sha256: ObjectRef(input_key(sha256), sha256, 1) for sha256 in digests}
    return Claimed(
        1, 1, UUID(int=1), 0, Stage.BASE, Lane.BULK, {}, 0, "k", alone=False, spec_id=1, inputs=refs
    )


def spec(image: bytes | None, mask: bytes | None = None) -> RenderSpec:
    texts = [None if data is None else content(hashlib.sha256(data).digest()) for data in (image, mask)]
    return RenderSpec(prompt="a", image=texts[0], mask_image=texts[1])


def turned() -> bytes:
    exif = Image.Exif()
    exif[0x0112] = 6
    noisy = Image.effect_noise((40, 24), 90).convert("RGB")
    buffer = io.BytesIO()
    noisy.save(buffer, "jpeg", exif=exif)
    return buffer.getvalue()


FILES = {
    "turned": turned(),
    "grey": picture(mode="L", fill=77),
    "see-through": picture(mode="RGBA", fill=(10, 200, 30, 40)),
    "palette": picture(mode="P", fill=3),
    "deep": picture(mode="I;16", fill=40_000),
    "cmyk": picture(kind="jpeg", mode="CMYK", fill=(10, 20, 30, 40)),
    "webp": picture(kind="webp", mode="RGBA", fill=(1, 2, 3, 4)),
}


@pytest.mark.parametrize("name", FILES)
def test_a_picture_is_what_diffusers_loads(name: str) -> None:
    data = FILES[name]
    wanted = load_image(Image.open(io.BytesIO(data)))
    found = Pictures(Bucket(data).get).of(spec(data, data), claimed(data))
    assert (found.image.mode, found.image.size) == ("RGB", wanted.size)
    assert not ImageChops.difference(found.image, wanted).getbbox()
    assert found.mask is not None
    assert found.mask.mode == "L"
    assert not ImageChops.difference(found.mask, wanted.convert("L")).getbbox()


def test_without_a_mask_there_is_none() -> None:
    data = picture()
    assert Pictures(Bucket(data).get).of(spec(data), claimed(data)).mask is None


def test_what_is_gone_or_ruined_ends_the_render_for_good() -> None:
    image, mask = picture(fill=1), picture(fill=2)
    pictures = Pictures(Bucket(image, b"no picture").get)
    for given, held, told in (
        (spec(mask), claimed(mask), "not in the bucket"),
        (spec(mask), claimed(image), "no longer kept"),
        (spec(b"no picture"), claimed(b"no picture"), "cannot be read"),
        (spec(image, mask), claimed(image), "mask_image: the picture is no longer kept"),
        (spec(None, image), claimed(image), "no image"),
    ):
        with pytest.raises(InputError, match=told) as caught:
            pictures.of(given, held)
        assert caught.value.error_class is ErrorClass.INPUT


def test_a_store_that_is_away_is_no_ruin() -> None:
    def away(_: ObjectRef) -> bytes:
        raise TransientError("away")

    data = picture()
    with pytest.raises(TransientError):
        Pictures(away).of(spec(data), claimed(data))


def test_the_images_of_a_job_share_one_decoded_picture() -> None:
    files = [picture(fill=number) for number in range(KEPT + 1)]
    bucket = Bucket(*files)
    pictures = Pictures(bucket.get)
    first = pictures.of(spec(files[0]), claimed(files[0]))
    assert pictures.of(spec(files[0]), claimed(files[0])) is first
    assert bucket.reads == 1
    for data in files[1:]:
        pictures.of(spec(data), claimed(data))
    assert pictures.of(spec(files[0]), claimed(files[0])) is not first
