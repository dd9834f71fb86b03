"""Pictures of strangers, looked at in a child that may break."""

from __future__ import annotations

import io
import json
import resource

import pytest
from PIL import Image

from latentfarm.errors import InvalidInput
from latentfarm.inputs import decoding
from latentfarm.inputs.decoding import CHILD, examine, mask_from_alpha
from latentfarm.records import Shape
from latentfarm.references import MAX_INPUT_BYTES
from tests.drawing import claimed_png, picture


def turned(orientation: int) -> bytes:
    exif = Image.Exif()
    exif[0x0112] = orientation
    return picture(40, 24, kind="jpeg", exif=exif)


@pytest.mark.parametrize("kind", ["png", "jpeg", "webp"])
def test_a_picture_is_measured(kind: str) -> None:
    assert examine("image", picture(40, 24, kind=kind)) == Shape(kind, 40, 24)


@pytest.mark.parametrize(
    ("mode", "kind"),
    [
        *((mode, "png") for mode in ("L", "RGBA", "P", "1", "LA", "I;16")),
        *((mode, "jpeg") for mode in ("L", "CMYK")),
        ("RGBA", "webp"),
    ],
)
def test_every_mode_of_the_formats_is_taken(mode: str, kind: str) -> None:
    assert examine("image", picture(16, 8, kind=kind, mode=mode)) == Shape(kind, 16, 8)


@pytest.mark.parametrize("orientation", range(1, 9))
def test_the_size_is_that_of_the_upright_picture(orientation: int) -> None:
    size = (24, 40) if orientation > 4 else (40, 24)
    assert examine("image", turned(orientation)) == Shape("jpeg", *size)


def test_a_telephones_jpeg_with_a_second_picture_is_taken() -> None:
    buffer = io.BytesIO()
    first, second = (Image.new("RGB", size) for size in ((40, 24), (8, 8)))
    first.save(buffer, "mpo", save_all=True, append_images=[second])
    assert examine("image", buffer.getvalue()) == Shape("jpeg", 40, 24)


def test_a_mask_is_white_where_nothing_is_left_of_the_picture() -> None:
    """As OpenAI has it: an alpha of 0, and no more than 0, asks to be painted."""
    given = Image.new("RGBA", (40, 24), (9, 9, 9, 255))
    given.paste((9, 9, 9, 1), (0, 0, 20, 24))
    given.paste((0, 0, 0, 0), (8, 4, 16, 12))
    buffer = io.BytesIO()
    given.save(buffer, "png")
    mask, shape = mask_from_alpha("mask", buffer.getvalue())
    assert shape == Shape("png", 40, 24)
    shown = Image.open(io.BytesIO(mask))
    assert (shown.format, shown.mode, shown.size) == ("PNG", "L", (40, 24))
    assert shown.getbbox() == (8, 4, 16, 12)
    assert sorted(shown.getcolors() or []) == [(64, 255), (896, 0)]
    assert mask_from_alpha("mask", buffer.getvalue())[0] == mask


@pytest.mark.parametrize(
    ("data", "told"),
    [
        (picture(16, 8), "no alpha channel"),
        (picture(16, 8, kind="jpeg"), "no alpha channel"),
        (picture(16, 8, mode="RGBA", fill=(0, 0, 0, 1)), "nothing to edit"),
        (picture(4096, 4097, mode="1"), "too many pixels"),
        (b"no picture", "no PNG, JPEG or WebP"),
        (b"x" * (MAX_INPUT_BYTES + 1), "too large"),
    ],
    ids=["png", "jpeg", "opaque", "pixels", "text", "bytes"],
)
def test_what_makes_no_mask_is_refused(data: bytes, told: str) -> None:
    with pytest.raises(InvalidInput, match=told):
        mask_from_alpha("mask", data)


def test_sixteen_megapixels_are_taken_and_one_row_more_is_not() -> None:
    assert examine("image", picture(4096, 4096, mode="1")) == Shape("png", 4096, 4096)
    with pytest.raises(InvalidInput, match="too many pixels"):
        examine("image", picture(4096, 4097, mode="1"))


def moving(kind: str) -> bytes:
    buffer = io.BytesIO()
    frames = [Image.new("RGB", (8, 8), colour) for colour in ("red", "blue")]
    frames[0].save(buffer, kind, save_all=True, append_images=frames[1:])
    return buffer.getvalue()


REFUSED = {
    "nothing": b"",
    "text": b"hello" * 100,
    "svg": b"<svg xmlns='http://www.w3.org/2000/svg'><image href='file:///etc/passwd'/></svg>",
    "gif": picture(kind="gif"),
    "bmp": picture(kind="bmp"),
    "tiff": picture(kind="tiff"),
    "ico": picture(kind="ico"),
    "eps": picture(kind="eps"),
    "pdf": picture(kind="pdf"),
    "jpeg 2000": picture(kind="jpeg2000"),
    "cut png": picture(200, 200, fill=7)[:60],
    "cut jpeg": picture(200, 200, kind="jpeg")[:-300],
    "cut webp": picture(200, 200, kind="webp")[:-10],
    "png signature alone": b"\x89PNG\r\n\x1a\n",
    "moving png": moving("png"),
    "moving webp": moving("webp"),
    "claimed 13000": claimed_png(13_000, 13_000),
    "claimed 2^31": claimed_png(2**31 - 1, 2**31 - 1),
    "claimed zero": claimed_png(0, 0),
    "claimed wide": claimed_png(2**24 + 1, 1),
    "fewer rows": claimed_png(1000, 1000),
    "text bomb": None,
}


@pytest.mark.parametrize("name", REFUSED)
def test_what_is_no_plain_picture_is_refused(name: str) -> None:
    data = REFUSED[name] if name != "text bomb" else text_bomb()
    assert data is not None
    with pytest.raises(InvalidInput, match=r"^mask_image: "):
        examine("mask_image", data)


@pytest.mark.parametrize("name", ["text", "svg", "gif", "bmp", "tiff", "ico", "eps", "pdf", "jpeg 2000"])
def test_other_formats_are_not_even_opened(name: str) -> None:
    with pytest.raises(InvalidInput, match="it is no PNG, JPEG or WebP"):
        examine("image", REFUSED[name] or b"")


def text_bomb() -> bytes:
    """Compressed text that unpacks to a gibibyte would: Pillow stops at a mebibyte of it."""
    from PIL.PngImagePlugin import PngInfo

    info = PngInfo()
    for number in range(3):
        info.add_text(f"t{number}", "x" * 50_000_000, zip=True)
    return picture(pnginfo=info)


def test_a_file_over_the_limit_is_not_even_looked_at(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(decoding, "CHILD", "/nowhere")
    with pytest.raises(InvalidInput, match="too large"):
        examine("image", bytes(MAX_INPUT_BYTES + 1))


def test_bombs_cost_this_process_nothing() -> None:
    """13,000 x 13,000 pixels that really are there: 500 MB once decoded, 160 KB as a file."""
    bomb = claimed_png(13_000, 13_000, rows=bytes(13_000 * (1 + 3 * 13_000)))
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    for _ in range(3):
        with pytest.raises(InvalidInput, match="pixels"):
            examine("image", bomb)
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 50 * 1024


def test_the_child_has_little_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(decoding, "MEMORY_BYTES", 110 * 2**20)
    assert examine("image", picture()) == Shape("png", 64, 64)
    with pytest.raises(InvalidInput, match="too much memory"):
        examine("image", picture(4096, 4096, mode="1"))


@pytest.mark.parametrize("code", ["import os; os.kill(os.getpid(), 9)", "print('{')", "1 / 0"])
def test_a_child_that_breaks_is_an_answer_too(
    code: str, monkeypatch: pytest.MonkeyPatch, tmp_path_factory: pytest.TempPathFactory
) -> None:
    script = tmp_path_factory.mktemp("child") / "breaks.py"
    script.write_text(code)
    monkeypatch.setattr(decoding, "CHILD", script)
    with pytest.raises(InvalidInput, match="bounded"):
        examine("image", picture())


def test_a_child_that_takes_long_is_killed(
    monkeypatch: pytest.MonkeyPatch, tmp_path_factory: pytest.TempPathFactory
) -> None:
    script = tmp_path_factory.mktemp("child") / "sleeps.py"
    script.write_text("import time; time.sleep(60)")
    monkeypatch.setattr(decoding, "CHILD", script)
    monkeypatch.setattr(decoding, "TIME_S", 1)
    with pytest.raises(InvalidInput, match="bounded"):
        examine("image", picture())


def test_the_child_knows_nothing_of_the_farm(
    monkeypatch: pytest.MonkeyPatch, tmp_path_factory: pytest.TempPathFactory
) -> None:
    """No secret of the environment, no module of the farm, no file written."""
    monkeypatch.setenv("LATENTFARM_S3_SECRET_ACCESS_KEY", "secret")
    folder = tmp_path_factory.mktemp("child")
    script, target = folder / "tells.py", folder / "written"
    script.write_text(
        "import json, os, runpy, sys\n"
        f"found = runpy.run_path({str(CHILD)!r})\n"
        "found['limit'](2**30, 10)\n"
        "def may_write():\n"
        "    try:\n"
        f"        with open({str(target)!r}, 'w') as file: file.write('x')\n"
        "        return True\n"
        "    except OSError: return False\n"
        "import signal; signal.signal(signal.SIGXFSZ, signal.SIG_IGN)\n"
        "told = [sorted(os.environ), [m for m in sys.modules if m.startswith('latentfarm')], may_write()]\n"
        "print(json.dumps({'refused': json.dumps(told)}))\n"
    )
    monkeypatch.setattr(decoding, "CHILD", script)
    with pytest.raises(InvalidInput) as caught:
        examine("image", b"")
    environment, modules, wrote = json.loads(caught.value.message)
    assert [name for name in environment if name.startswith("LATENTFARM")] == []
    assert (modules, wrote) == ([], False)
    assert not target.stat().st_size
