"""Contact sheets, and the comparison of two pictures."""

from __future__ import annotations

import io
from typing import TYPE_CHECKING, Any

import pytest
from PIL import Image
from typer.testing import CliRunner

from latentfarm.cli import demo, sheet
from latentfarm.cli.app import app
from latentfarm.cli.grid import label
from latentfarm.cli.sheet import BORDER, LINE, MOST_LINES, contact_sheet
from latentfarm.errors import InvalidInput
from latentfarm.pixels import largest_difference, open_picture
from latentfarm.provenance import CHUNK, describe, to_json
from latentfarm.spec import RenderSpec
from tests.drawing import picture

if TYPE_CHECKING:
    from pathlib import Path

TILE = 64 + 2 * BORDER
LABEL = LINE * MOST_LINES


def plain(colour: str, size: tuple[int, int] = (64, 64)) -> Image.Image:
    return Image.new("RGB", size, colour)


def made(prompt: str, **fields: Any) -> bytes:
    from PIL.PngImagePlugin import PngInfo

    info = PngInfo()
    info.add_text(CHUNK, to_json(describe(RenderSpec(prompt=prompt, **fields), 7, {})))
    return picture(pnginfo=info)


def centre(shown: Image.Image, column: int, row: int) -> Any:
    return shown.getpixel((column * TILE + TILE // 2, row * (TILE + LABEL) + BORDER + 32))


def test_pictures_stand_in_rows() -> None:
    names = ["red", "lime", "blue", "black", "yellow"]
    shown = contact_sheet([(plain(name), name) for name in names], columns=3, side=64)
    assert shown.size == (3 * TILE, 2 * (TILE + LABEL))
    colours = [(255, 0, 0), (0, 255, 0), (0, 0, 255), (0, 0, 0), (255, 255, 0)]
    assert [centre(shown, index % 3, index // 3) for index in range(5)] == colours
    assert centre(shown, 2, 1) == (255, 255, 255)


@pytest.mark.parametrize(("count", "columns"), [(1, 1), (2, 2), (4, 2), (5, 3), (9, 3), (10, 4)])
def test_a_sheet_is_as_square_as_can_be(count: int, columns: int) -> None:
    assert contact_sheet([(plain("red"), "")] * count, side=64).width == columns * TILE


@pytest.mark.parametrize(
    ("size", "side", "shown"),
    [
        ((64, 64), 128, (128, 128)),
        ((64, 32), 200, (192, 96)),
        ((1024, 512), 256, (256, 128)),
        ((64, 64), 64, (64, 64)),
    ],
)
def test_pictures_fit_their_side(size: tuple[int, int], side: int, shown: tuple[int, int]) -> None:
    width, height = contact_sheet([(plain("red", size), "")], side=side).size
    assert (width - 2 * BORDER, height - 2 * BORDER - LABEL) == shown


@pytest.mark.parametrize("text", ["a red circle", "", "красный 红色 🎈", "x" * 10_000, "a\n\nb\x00\x1b[31m"])
def test_any_label_is_written(text: str) -> None:
    shown = contact_sheet([(plain("white"), text)], side=64)
    assert shown.height == TILE + LABEL
    assert (shown.convert("L").getextrema()[0] < 128) == bool(text)  # type: ignore[operator]


def test_no_picture_and_too_many_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(InvalidInput, match="no picture"):
        contact_sheet([])
    monkeypatch.setattr(sheet, "MAX_PIXELS", 4 * TILE * (TILE + LABEL))
    contact_sheet([(plain("red"), "")] * 4, side=64)
    with pytest.raises(InvalidInput, match="too many"):
        contact_sheet([(plain("red"), "")] * 5, side=64)


def test_a_label_says_what_was_asked_for() -> None:
    assert label(made("a red circle"), "x.png") == "a red circle (seed 7)"
    assert label(made("a", prompt_2="striped"), "x.png") == "a, striped (seed 7)"
    assert label(picture(), "x.png") == "x.png"


def test_files_become_a_sheet(tmp_path: Path) -> None:
    names = []
    for number, data in enumerate((made("one"), picture(kind="jpeg"), picture(kind="webp"))):
        names.append(str(tmp_path / f"{number}"))
        (tmp_path / f"{number}").write_bytes(data)
    for kind in ("png", "jpg", "webp"):
        out = tmp_path / f"sheet.{kind}"
        ran = CliRunner().invoke(app, ["grid", *names, "-o", str(out), "--columns", "3", "--side", "64"])
        assert ran.exit_code == 0, ran.output
        with Image.open(out) as shown:
            assert shown.size == (3 * TILE, TILE + LABEL)


def test_the_demo_shows_its_four_pictures_in_one_row(tmp_path: Path) -> None:
    paths = [tmp_path / f"{number}.png" for number in range(len(demo.PROMPTS))]
    for path in paths:
        path.write_bytes(picture(128, 128))
    with Image.open(demo._sheet(paths, tmp_path / "sheet.png")) as shown:
        assert shown.size == (4 * (256 + 2 * BORDER), 256 + 2 * BORDER + LABEL)


@pytest.mark.parametrize(
    ("name", "told"), [("nowhere.png", "cannot read"), ("text.png", "not a readable image")]
)
def test_what_is_no_picture_is_named(name: str, told: str, tmp_path: Path) -> None:
    (tmp_path / "text.png").write_text("hello")
    ran = CliRunner().invoke(app, ["grid", str(tmp_path / name), "-o", str(tmp_path / "sheet.png")])
    assert isinstance(ran.exception, InvalidInput)
    assert told in str(ran.exception)


def test_a_sheet_that_cannot_be_written_says_so(tmp_path: Path) -> None:
    (tmp_path / "a.png").write_bytes(picture())
    for out in ("sheet.xyz", "nowhere/sheet.png"):
        ran = CliRunner().invoke(app, ["grid", str(tmp_path / "a.png"), "-o", str(tmp_path / out)])
        assert isinstance(ran.exception, InvalidInput)


def test_the_largest_difference_is_found_in_every_channel() -> None:
    black = plain("black")
    assert largest_difference(black, plain("black")) == 0
    for channel in range(3):
        other = plain("black")
        other.putpixel((63, 1), tuple(9 if place == channel else 0 for place in range(3)))
        assert largest_difference(black, other) == largest_difference(other, black) == 9
    with pytest.raises(InvalidInput, match="32x64"):
        largest_difference(black, plain("black", (32, 64)))


def test_pictures_are_opened_in_rgb() -> None:
    assert open_picture(picture(mode="RGBA", fill=(1, 2, 3, 4))).getpixel((0, 0)) == (1, 2, 3)
    for data in (b"", b"x", picture(kind="gif"), picture()[:50]):
        with pytest.raises(InvalidInput):
            open_picture(data)
    buffer = io.BytesIO()
    Image.new("1", (20_000, 20_000)).save(buffer, "png")
    with pytest.raises(InvalidInput):
        open_picture(buffer.getvalue())
