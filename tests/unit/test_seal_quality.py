"""What is measured of pictures, and where the thresholds lie."""

from __future__ import annotations

import io
from typing import Any

import numpy as np
import pytest
from PIL import Image, ImageFilter

from latentfarm.errors import InvalidInput
from tests.drawing import drawn_picture, picture
from worker.seal.duplicates import COLOUR_DISTANCE, PHASH_DISTANCE, NearDuplicates
from worker.seal.quality import Quality, measure


def file_of(image: Image.Image, kind: str = "png", **options: Any) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, kind, **options)
    return buffer.getvalue()


def noise(seed: int, amplitude: float = 255.0, base: float = 0.0, side: int = 64) -> Image.Image:
    """Grey noise from `base` to `base + amplitude`."""
    drawn = np.random.default_rng(seed).random((side, side, 1)) * amplitude + base
    return Image.fromarray(np.repeat(drawn, 3, axis=2).astype(np.uint8))


def quality(image: Image.Image, kind: str = "png", **options: Any) -> Quality:
    return measure(file_of(image, kind, **options))


def distance(left: Quality, right: Quality) -> int:
    assert left.phash is not None
    assert right.phash is not None
    return (left.phash ^ right.phash).bit_count()


def test_black() -> None:
    found = measure(picture(64, 48))
    assert found == Quality(64, 48, 0.0, 0.0, uniform=True, dark=True, sharpness=0.0, phash=None, colour=0)


def test_grey_is_uniform_and_not_dark() -> None:
    found = measure(picture(fill=(120, 130, 140)))
    assert (found.uniform, found.dark, found.phash, found.colour) == (True, False, None, 0x78828C)
    assert found.mean == pytest.approx(130)


def test_noise_is_sharp_and_neither_uniform_nor_dark() -> None:
    found = quality(noise(0))
    assert (found.uniform, found.dark) == (False, False)
    assert found.deviation == pytest.approx(255 / 12**0.5, rel=0.05)
    assert found.sharpness == pytest.approx(20 * 255**2 / 12, rel=0.1)  # 4^2 + 4 times one pixel's variance


@pytest.mark.parametrize("fill", [(0, 0, 0), (255, 0, 0), (201, 77, 33)])
@pytest.mark.parametrize(("kind", "level"), [("jpeg", 30), ("webp", 30), ("jpeg", 95), ("webp", 90)])
def test_one_colour_stays_uniform_in_lossy_formats(kind: str, level: int, fill: tuple[int, int, int]) -> None:
    assert measure(picture(kind=kind, fill=fill, quality=level)).uniform


def test_a_pale_gradient_is_a_picture() -> None:
    steps = np.linspace(200, 214, 64).astype(np.uint8)
    fog = Image.fromarray(np.repeat(np.tile(steps, (64, 1))[:, :, None], 3, axis=2))
    assert not quality(fog).uniform


def test_colours_of_equal_brightness_are_no_uniform_picture() -> None:
    halves = Image.new("RGB", (64, 64), (255, 0, 0))
    halves.paste((0, 130, 0), (0, 0, 32, 64))
    assert not quality(halves).uniform


def test_a_night_sky_is_no_black_picture() -> None:
    night = Image.new("RGB", (100, 100))
    for n in range(10):
        night.putpixel((n * 9, n * 7), (255, 255, 255))
    assert quality(night).dark  # 10 of 10,000 are specks
    night.putpixel((50, 99), (0, 0, 255))
    assert not quality(night).dark  # 11 are stars, be they blue


def test_what_a_lossy_format_leaves_of_black_is_dark() -> None:
    assert quality(noise(1, amplitude=17.0)).dark
    assert not quality(noise(1, amplitude=19.0)).dark


def test_a_blurred_picture_is_less_sharp() -> None:
    image = drawn_picture(3)
    assert quality(image.filter(ImageFilter.GaussianBlur(2))).sharpness < 0.3 * quality(image).sharpness


def test_tiny_pictures_have_no_sharpness() -> None:
    assert quality(noise(0, side=2)).sharpness == 0.0


@pytest.mark.parametrize("data", [b"", b"not an image", picture()[:60], b"\x89PNG\r\n\x1a\n" + bytes(56)])
def test_what_is_no_image_is_refused(data: bytes) -> None:
    with pytest.raises(InvalidInput):
        measure(data)


def test_a_lossy_format_turns_few_bits() -> None:
    """WebP at half the colours turns more than JPEG as the farm writes it, and seldom more than are forgiven."""
    images = [drawn_picture(seed, 256, 256) for seed in range(8)]
    jpeg = [distance(quality(one), quality(one, "jpeg", quality=95, subsampling=0)) for one in images]
    webp = [distance(quality(one), quality(one, "webp", quality=90)) for one in images]
    assert max(jpeg) <= PHASH_DISTANCE
    assert sorted(webp)[-2] <= PHASH_DISTANCE


def test_other_pictures_look_different() -> None:
    hashes = [quality(drawn_picture(seed)) for seed in range(40)]
    pairs = [distance(a, b) for n, a in enumerate(hashes) for b in hashes[:n]]
    assert min(pairs) > PHASH_DISTANCE
    assert 20 < sum(pairs) / len(pairs) < 36


def test_duplicates_name_the_first_that_looks_the_same() -> None:
    seen = NearDuplicates()
    assert seen.add(7, 0, 0x808080) is None
    assert seen.add(9, 0b1111, 0x808080) == 7
    assert seen.add(11, 0b11111, 0x808080) is None
    assert seen.add(12, 0b1, 0x808080) == 7  # of two that are near, the first
    assert len(seen) == 2


def test_another_colour_is_another_picture() -> None:
    seen = NearDuplicates()
    seen.add(0, 5, 0x804020)
    assert seen.add(1, 5, 0x804020 + COLOUR_DISTANCE) == 0
    assert seen.add(2, 5, 0x804020 + COLOUR_DISTANCE + 1) is None
    assert seen.add(3, 5, 0x804020 - (COLOUR_DISTANCE + 1 << 16)) is None


def test_bands_miss_nobody() -> None:
    """The same answers as comparing each with each."""
    rng = np.random.default_rng(0)
    roots = [int(root) for root in rng.integers(0, 2**63, 40)]
    seen, kept = NearDuplicates(), list[tuple[int, int]]()
    found = 0
    for ordinal in range(1_500):
        phash = roots[ordinal % 40]
        for bit in rng.choice(64, int(rng.integers(0, 7)), replace=False):
            phash ^= 1 << int(bit)
        wanted = next((n for n, other in kept if (other ^ phash).bit_count() <= PHASH_DISTANCE), None)
        assert seen.add(ordinal, phash, 0) == wanted
        found += wanted is not None
        if wanted is None:
            kept.append((ordinal, phash))
    assert 100 < found < 1_400
