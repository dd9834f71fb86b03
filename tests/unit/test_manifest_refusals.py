"""Pass 1: what is wrong with a row or with all of them is said, with its place, and may be left out."""

from __future__ import annotations

from typing import Any

import pytest

from latentfarm.errors import InvalidInput, ManifestError, NotSupported
from latentfarm.manifests import checking
from latentfarm.manifests.checked import Counts
from latentfarm.manifests.reading import read_rows
from latentfarm.manifests.row import Row
from tests.manifests import Check, refused


@pytest.mark.parametrize(
    ("row", "error", "field"),
    [
        ({}, "missing", "prompt"),
        ({"prompt": None}, "missing", "prompt"),
        ({"prompt": 3}, "no text", "prompt"),
        ({"prompt": "a" * 100_000}, "8192", "prompt"),
        ({"prompt": "a\0"}, "NUL", "prompt"),
        ({"prompt": "a", "negative_prompt_2": "a" * 8_193}, "8192", "negative_prompt_2"),
        ({"prompt": "a", "prompt_2": 3}, "string", "prompt_2"),
        ({"prompt": "a", "steps": 3}, "unknown field", "steps"),
        ({"prompt": "a", "num_inference_steps": "30"}, "integer", "num_inference_steps"),
        ({"prompt": "a", "num_inference_steps": 300}, "200", "num_inference_steps"),
        ({"prompt": "a", "num_images": 21}, "21 images", "num_images"),
        ({"prompt": "a", "width": 65}, "multiple of 8", "width"),
        ({"prompt": "a", "sampler": "magic"}, "magic", "sampler"),
        ({"prompt": "a", "model": "none"}, "no model", "model"),
        ({"prompt": "a", "strength": 0.5}, "without image", "strength"),
        ({"prompt": "a", "seed": -1}, "no seed", "seed"),
        ({"prompt": "a", "seed": True}, "no seed", "seed"),
        ({"prompt": "a", "lane": "interactive"}, "belongs to the run", "lane"),
        ({"prompt": "a", "priority": 1}, "belongs to the run", "priority"),
        ({"prompt": "a", "id": ""}, "no id", "id"),
        ({"prompt": "a", "id": "a" * 201}, "no id", "id"),
        ({"prompt": "a", "id": 3}, "no id", "id"),
        ({"prompt": "a", "id": "a\0"}, "no id", "id"),
        ({"prompt": "a", "metadata": {"a": 3}}, "string", "metadata.a"),
        ({"prompt": "a", "metadata": {"a": "\0"}}, "NUL", "metadata"),
        ({"prompt": "a", "metadata": "b"}, "object", "metadata"),
        ({"prompt": "(cat", "prompt_weighting": "compel"}, "not closed", "prompt"),
        ({"prompt": "a" * 3_501, "output": {"format": "jpeg"}}, "no room", "output.format"),
    ],
)
def test_a_row_that_is_wrong_is_named_and_may_be_left_out(
    row: dict[str, Any], error: str, field: str
) -> None:
    rows = [{"prompt": "first"}, row, {"prompt": "last"}]
    caught = refused(rows)
    assert isinstance(caught, ManifestError)
    assert (caught.line, caught.field) == (2, field)
    assert error in str(caught)
    assert str(caught).startswith("line 2: ")
    found = Check(rows, skip_invalid=True)
    assert found.prompts == ["first", "last"]
    assert found.found.counts == Counts(rows=3, images=2, skipped=1)
    [skipped] = found.found.skipped
    assert (skipped.line, skipped.field) == (2, field)
    assert error in skipped.message


@pytest.mark.parametrize("field", ["image", "mask_image"])
def test_pictures_to_start_from_are_not_supported(field: str) -> None:
    caught = refused([{"prompt": "a", field: "https://example.org/a.png"}])
    assert (caught.code, caught.field) == (NotSupported.code, field)


def test_a_line_that_a_reader_could_not_read_is_an_error_of_its_row() -> None:
    data = b'{"prompt": "a"}\n{"prompt": \n{"prompt": "b"}'
    caught = refused(read_rows("jsonl", [data]))
    assert str(caught).startswith("line 2: row: not JSON")
    found = Check(read_rows("jsonl", [data]), skip_invalid=True)
    assert (found.prompts, found.found.counts.skipped) == (["a", "b"], 1)


def test_one_bad_row_in_very_many_is_found() -> None:
    rows = [Row(number, {"prompt": "a"}) for number in range(1, 5_000)]
    rows[4_321] = Row(4_322, {"prompt": "a", "seed": 1.5})
    assert str(refused(rows)).startswith("line 4322: seed")


def test_an_id_that_comes_twice_names_both_lines() -> None:
    rows = [{"prompt": "a", "id": "x", "num_images": 2}, {"prompt": "b"}, {"prompt": "c", "id": "x-1"}]
    caught = refused(rows)
    assert isinstance(caught, ManifestError)
    assert (caught.line, caught.field) == (3, "id")
    assert "'x-1' is the id of line 1 too" in str(caught)
    found = Check([*rows, {"prompt": "d", "id": "x-2"}], skip_invalid=True)
    assert found.prompts == ["a", "a", "b", "d"]


def test_an_id_that_looks_like_an_ordinal_may_not_meet_it() -> None:
    rows = [{"prompt": "a", "id": "000000001"}, {"prompt": "b"}]
    for skip in (False, True):
        assert "line 2: id: '000000001' is the id of line 1" in str(refused(rows, skip_invalid=skip))


def test_a_row_of_very_many_images_is_left_out_as_a_whole(monkeypatch: pytest.MonkeyPatch) -> None:
    """More than are held: some of it would be right."""
    monkeypatch.setattr(checking, "_HELD", 4)
    row = {"prompt": "{a|b|c|d|e|f|g}", "prompt_weighting": "compel", "id": "x"}
    options: dict[str, Any] = {"template": "combinatorial", "skip_invalid": True}
    good = Check([{"prompt": "y"}, row], **options)
    assert good.prompts == list("yabcdefg")
    assert good.samples[-1].id == "x-6"
    bad = row | {"prompt": row["prompt"].replace("g", "(" + "g" * 2_000)}
    found = Check([{"prompt": "y"}, bad, {"prompt": "z", "id": "x-0"}], **options)
    assert found.prompts == ["y", "z"]
    late = Check([{"prompt": "z", "id": "x-6"}, row], **options)
    assert (late.prompts, late.found.skipped[0].field) == (["z"], "id")
    assert "line 2: prompt: 2001 characters" in str(refused([{"prompt": "y"}, bad], template="combinatorial"))


@pytest.mark.parametrize("skip", [False, True])
def test_a_manifest_without_rows_is_refused(skip: bool) -> None:
    assert "manifest: holds no rows" in str(refused([], skip_invalid=skip))


def test_a_manifest_of_bad_rows_alone_is_refused() -> None:
    caught = refused([{"prompt": "a", "stepz": 1}] * 2, skip_invalid=True)
    assert "every row was left out; the first, line 1: unknown field" in str(caught)


def test_a_template_that_gives_nothing_is_refused() -> None:
    assert "gives no prompt" in str(refused([{"prompt": "# all of it"}], template="combinatorial"))


def test_ten_to_the_twelve_are_refused_before_one_is_made() -> None:
    row = {"prompt": "{" + "|".join("abcdefghij") + "}"}
    twelve = {"prompt": row["prompt"] * 12}
    assert "gives 1000000000000 prompts" in str(refused([twelve], template="combinatorial"))
    wide = {"product": {"seed": list(range(100)), "clip_skip": [0] * 30}}
    caught = refused([{"prompt": row["prompt"] * 5}], template="combinatorial", sweep=wide, limit=10**7)
    assert "line 1: manifest: gives too many images (allowed: up to 10000000)" in str(caught)


@pytest.mark.parametrize("skip", [False, True])
def test_there_is_a_limit_that_no_row_is_left_out_for(skip: bool) -> None:
    rows = [{"prompt": "a", "num_images": 3}, {"prompt": "b", "num_images": 3}]
    assert len(Check(rows, limit=6, skip_invalid=skip).samples) == 6
    caught = refused(rows, limit=5, skip_invalid=skip)
    assert "line 2: manifest: gives too many images (allowed: up to 5)" in str(caught)
    swept = {"product": {"eta": [0, 0.0]}}
    assert "line 1: " in str(refused(rows, limit=5, sweep=swept, skip_invalid=skip))


def test_a_tar_holds_images_of_one_format_and_other_layouts_of_several() -> None:
    """Stock readers look for the field of the first samples in all of them."""
    bad = {"prompt": "c", "width": 63, "output": {"format": "png"}}
    webp, png = ({"prompt": "a", "output": {"format": one}} for one in ("webp", "png"))
    rows = [bad, webp, webp, png, webp]
    caught = refused(rows[1:])
    assert str(caught).startswith("line 3: output.format: png, and the first image of the run is webp")
    assert caught.allowed == "webp; or layout imagefolder or parquet"
    found = Check(rows, skip_invalid=True)
    assert [(one.line, one.field) for one in found.found.skipped] == [(1, "width"), (4, "output.format")]
    assert len(found.samples) == 3
    for layout in ("imagefolder", "parquet"):
        assert len(Check(rows[1:], layout=layout).samples) == 4
    swept = {"product": {"output": [{"format": "png"}, {"format": "jpeg"}]}}
    assert "line 1: output.format: jpeg" in str(refused([{"prompt": "a"}], sweep=swept))


def test_a_row_may_not_say_what_is_swept_over() -> None:
    rows = [{"prompt": "a", "guidance_scale": 3}]
    caught = refused(rows, sweep={"product": {"guidance_scale": [1, 2]}})
    assert "line 1: guidance_scale: is swept over" in str(caught)


@pytest.mark.parametrize("options", [{"defaults": {"stepz": 1}}, {"sweep": {"product": {"stepz": [1]}}}])
def test_what_is_wrong_with_the_request_has_no_line(options: dict[str, Any]) -> None:
    caught = refused([{"prompt": "a"}], InvalidInput, skip_invalid=True, **options)
    assert not isinstance(caught, ManifestError)


@pytest.mark.parametrize("skip", [False, True])
def test_work_that_gives_no_images_is_bounded_and_no_row_left_out_for_it(skip: bool) -> None:
    """Rows of which each takes long and gives one image, or none since it is left out."""
    equal = {"prompt": "{a|a|a|a|a|a|a|a|a|a}" * 3}
    asked: dict[str, Any] = {"template": "combinatorial", "skip_invalid": skip, "units": 50_000}
    caught = refused([equal] * 20, **asked)
    assert isinstance(caught, ManifestError)
    assert caught.field == "prompt"
    assert caught.line in range(2, 20)
    assert "up to 50000 units" in str(caught)
    assert len(Check([equal], **asked).samples) == 1


def test_sweeps_of_rows_that_are_left_out_are_bounded() -> None:
    swept = {"product": {"guidance_scale": list(range(100))}}
    rows = [{"prompt": "a"}] + [{"prompt": "a", "width": 63}] * 50
    found = Check(rows, sweep=swept, skip_invalid=True, limit=10**6)
    assert found.found.counts.skipped == 50
    late = [{"prompt": "a", "id": "x"}, *[{"prompt": "a", "id": "x"}] * 50]
    caught = refused(late, sweep=swept, skip_invalid=True, units=5_000)
    assert (caught.field, caught.message[:13]) == ("sweep", "the templates")
