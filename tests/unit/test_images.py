"""Images carry how they were made, in every format, for us and for other tools."""

from __future__ import annotations

import io
from typing import Any

import pytest
import torch
from PIL import Image

from latentfarm.errors import InvalidInput, SpecError
from latentfarm.provenance import describe, parameters_line, read_provenance
from latentfarm.spec import OutputSpec, RefinerSpec, RenderSpec
from worker.engine.order import Picture
from worker.images import MEDIA_TYPES, encode

NOTES = {"model_hash": "ab" * 32, "refiner_hash": "cd" * 32, "bucket": "8", "device": "x86_64 AVX2"}
SPEC = RenderSpec(
    prompt="красный круг 红色 🎈\nand a line",
    negative_prompt="blue",
    sampler="dpmpp_2m",
    sigma_schedule="karras",
    width=72,
    height=64,
    num_inference_steps=20,
    guidance_scale=5.0,
    refiner=RefinerSpec(high_noise_frac=0.8),
    metadata={"mine": "not for the picture"},
)


@pytest.fixture(scope="module")
def picture() -> Picture:
    generator = torch.Generator().manual_seed(3)
    pixels = torch.randint(0, 256, (64, 72, 3), dtype=torch.uint8, generator=generator)
    return Picture(pixels, NOTES, ("prompt was cut",))


@pytest.fixture(scope="module")
def provenance(picture: Picture) -> dict[str, Any]:
    return describe(SPEC, 2**53 - 1, picture.notes, picture.warnings)


@pytest.mark.parametrize("name", ["png", "webp", "jpeg"])
def test_provenance_comes_back(name: Any, picture: Picture, provenance: dict[str, Any]) -> None:
    data = encode(picture, OutputSpec(format=name), provenance)
    found = read_provenance(data)
    assert found == provenance
    assert found["seed"] == 2**53 - 1
    assert found["warnings"] == ["prompt was cut"]
    again = RenderSpec.model_validate(found["spec"])
    assert again.picture() == SPEC.picture()
    with Image.open(io.BytesIO(data)) as image:
        assert image.size == (72, 64)
        assert image.get_format_mimetype() == MEDIA_TYPES[name]


def test_a_png_has_the_pixels_and_the_line_of_other_tools(
    picture: Picture, provenance: dict[str, Any]
) -> None:
    with Image.open(io.BytesIO(encode(picture, OutputSpec(), provenance))) as image:
        pixels = torch.frombuffer(bytearray(image.tobytes()), dtype=torch.uint8).view(64, 72, 3)
        line = image.info["parameters"]
    assert torch.equal(pixels, picture.pixels)
    assert line == parameters_line(provenance)
    prompt, more, negative, settings = line.splitlines()
    assert (prompt, more, negative) == ("красный круг 红色 🎈", "and a line", "Negative prompt: blue")
    assert settings == (
        "Steps: 20, Sampler: DPM++ 2M, Schedule type: Karras, CFG scale: 5.0, Seed: 9007199254740991, "
        "Size: 72x64, Model hash: ababababab, Model: tiny, Refiner: tiny [cdcdcdcdcd], "
        "Refiner switch at: 0.8, Version: latentfarm"
    )


def test_the_line_of_a_refiner_alone_names_it_as_the_model() -> None:
    refiner = RefinerSpec(mode="only", strength=0.4, num_inference_steps=9, guidance_scale=3.0)
    line = parameters_line(describe(SPEC.model_copy(update={"refiner": refiner}), 1, NOTES))
    for told in ("Steps: 9, ", "CFG scale: 3.0, ", "Denoising strength: 0.4, ", "Model hash: cdcdcdcdcd, "):
        assert told in line
    assert "Refiner" not in line


@pytest.mark.parametrize(
    ("fields", "told"),
    [
        ({}, "Schedule type: Automatic, "),
        ({"sigma_schedule": "default"}, "Schedule type: Automatic, "),
        ({"sigma_schedule": "exponential"}, "Schedule type: Exponential, "),
        ({"clip_skip": 1}, "Clip skip: 2, "),
        ({"prompt_weighting": "compel"}, "Prompt weighting: compel, "),
        ({"strength": 0.55}, "Denoising strength: 0.55, "),
        ({"refiner": RefinerSpec(mode="image", strength=0.4)}, "Refiner strength: 0.4, "),
    ],
)
def test_the_line_says_it_in_the_words_of_other_tools(fields: dict[str, Any], told: str) -> None:
    spec = SPEC.model_copy(update={"sigma_schedule": None, "refiner": None, **fields})
    line = parameters_line(describe(spec, 1, NOTES)).splitlines()[-1]
    assert told in line
    assert ("Clip skip" in line, "Denoising" in line) == ("clip_skip" in fields, "strength" in fields)


@pytest.mark.parametrize("name", ["webp", "jpeg"])
def test_other_formats_have_the_line_in_exif(name: Any, picture: Picture, provenance: dict[str, Any]) -> None:
    with Image.open(io.BytesIO(encode(picture, OutputSpec(format=name), provenance))) as image:
        comment = image.getexif().get_ifd(0x8769)[0x9286]
    assert comment.removeprefix(b"UNICODE\0").decode("utf-16-be") == parameters_line(provenance)


def test_quality_has_an_effect(picture: Picture, provenance: dict[str, Any]) -> None:
    low, high = (
        encode(picture, OutputSpec(format="jpeg", quality=quality), provenance) for quality in (10, 95)
    )
    assert len(low) < len(high)


def test_a_jpeg_without_room_is_refused(picture: Picture) -> None:
    long = SPEC.model_copy(update={"prompt": "🎈" * 8_000})
    with pytest.raises(SpecError, match="jpeg"):
        encode(picture, OutputSpec(format="jpeg"), describe(long, 1, NOTES))


@pytest.mark.parametrize("letter", ["a", "é", "红", "🎈"])
def test_a_jpeg_has_room_for_what_validation_lets_through(letter: str, picture: Picture) -> None:
    from latentfarm.validation import JPEG_PROMPT_CHARS

    full = SPEC.model_copy(
        update={
            "prompt": letter * JPEG_PROMPT_CHARS,
            "negative_prompt": "",
            "sigmas": tuple(1 / 3 + 200 - i for i in range(200)),
            "image": f"sha256:{'ab' * 32}",
            "mask_image": f"sha256:{'cd' * 32}",
        }
    )
    data = encode(picture, OutputSpec(format="jpeg"), describe(full, 1, NOTES))
    assert read_provenance(data)["spec"]["prompt"] == full.prompt


def _png(**chunks: str) -> bytes:
    from PIL.PngImagePlugin import PngInfo

    info = PngInfo()
    for name, text in chunks.items():
        info.add_text(name, text)
    buffer = io.BytesIO()
    Image.new("RGB", (8, 8)).save(buffer, "png", pnginfo=info)
    return buffer.getvalue()


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"no image",
        _png(),
        _png()[:40],
        _png(latentfarm="{"),
        _png(latentfarm="[1]"),
        _png(latentfarm="{}"),
    ],
)
def test_files_that_are_not_ours_are_refused(data: bytes) -> None:
    with pytest.raises(InvalidInput):
        read_provenance(data)
