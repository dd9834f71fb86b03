"""The four formats: which rows a file has, where each begins, and what is said of a file that is wrong."""

from __future__ import annotations

import io
from typing import TYPE_CHECKING, Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from latentfarm.errors import InvalidInput, ManifestError
from latentfarm.manifests import parquet_rows
from latentfarm.manifests.lines import MAX_LINE_BYTES
from latentfarm.manifests.reading import format_of, inline_rows, read_rows
from latentfarm.manifests.request import ManifestSource

if TYPE_CHECKING:
    from pathlib import Path

    from latentfarm.manifests.request import Format
    from latentfarm.manifests.row import Row

TOO_LONG = b'{"prompt": "' + b"a" * MAX_LINE_BYTES + b'"}'


def rows(form: Format, data: bytes, chunk: int = 7) -> list[Row]:
    pieces = [data[start : start + chunk] for start in range(0, len(data), chunk)]
    return list(read_rows(form, pieces))


def fields(form: Format, data: bytes, chunk: int = 7) -> list[tuple[int, dict[str, Any]]]:
    found = rows(form, data, chunk)
    assert [row.error for row in found if row.error] == []
    return [(row.line, row.fields) for row in found]


@pytest.mark.parametrize("chunk", [1, 2, 3, 1000])
def test_jsonl_has_a_row_per_line_that_is_not_blank(chunk: int) -> None:
    data = '{"prompt": "ü🐈"}\r\n\n  \n{"prompt": "b", "seed": 3}'.encode()
    assert fields("jsonl", data, chunk) == [(1, {"prompt": "ü🐈"}), (4, {"prompt": "b", "seed": 3})]


@pytest.mark.parametrize("chunk", [1, 5, 1000])
def test_text_has_a_prompt_per_line(chunk: int) -> None:
    found = fields("text", b"a cat\n\n  a dog \r\nthe last", chunk)
    assert found == [(1, {"prompt": "a cat"}), (3, {"prompt": "a dog"}), (4, {"prompt": "the last"})]


def test_csv_has_a_row_per_record_wherever_its_lines_end() -> None:
    data = (
        b"prompt,num_inference_steps,metadata,id\r\n"
        b'"two\nlines, ""quoted""",30,"{""a"": ""b""}",x\r\n'
        b"\r\n"
        b"plain,,,17\r\n"
    )
    assert fields("csv", data) == [
        (
            2,
            {
                "prompt": 'two\nlines, "quoted"',
                "num_inference_steps": 30,
                "metadata": {"a": "b"},
                "id": "x",
            },
        ),
        (5, {"prompt": "plain", "id": "17"}),
    ]


@pytest.mark.parametrize(
    ("form", "line", "field", "message"),
    [
        ("jsonl", b'{"prompt": "a"', "row", "not JSON"),
        ("jsonl", b'["a"]', "row", "no object"),
        ("jsonl", b'{"prompt": "a", "prompt": "b"}', "prompt", "twice"),
        ("jsonl", b'{"prompt": NaN}', "row", "NaN is not JSON"),
        ("jsonl", b'{"prompt": "\\ud800"}', "prompt", "surrogate"),
        ("jsonl", b'{"prompt": "\xff"}', "row", "not UTF-8 at byte 13"),
        ("jsonl", TOO_LONG, "row", "too long"),
        ("text", b"caf\xe9", "row", "not UTF-8 at byte 4"),
        ("text", TOO_LONG, "row", "too long"),
    ],
)
def test_a_line_that_cannot_be_read_spoils_its_row_alone(
    form: Format, line: bytes, field: str, message: str
) -> None:
    good = b'{"prompt": "a"}'
    first, bad, last = rows(form, b"\n".join([good, line, good]), chunk=4_096)
    assert (first.error, last.error, last.line) == (None, None, 3)
    assert bad.error is not None
    assert (bad.error.line, bad.error.field, bad.fields) == (2, field, {})
    assert message in bad.error.message


def test_the_longest_line_is_taken() -> None:
    line = b"a" * MAX_LINE_BYTES
    found = fields("text", line + b"\r\n" + line + b"\n" + line, 1_000)
    assert [len(row["prompt"]) for _, row in found] == [MAX_LINE_BYTES] * 3


def test_a_line_without_an_end_is_let_go_as_it_comes() -> None:
    """A gigabyte on one line must not be held."""
    seen: list[int] = []

    def chunks() -> Any:
        for _ in range(1_000):
            seen.append(1)
            yield b"a" * 100_000

    [row] = read_rows("text", chunks())
    assert row.error is not None
    assert len(seen) == 1_000


@pytest.mark.parametrize("form", ["jsonl", "csv", "text"])
@pytest.mark.parametrize(
    ("encoding", "name"), [("utf-8-sig", "UTF-8"), ("utf-16", "UTF-16"), ("utf-32", "UTF-32")]
)
def test_a_byte_order_mark_is_refused(form: Format, encoding: str, name: str) -> None:
    with pytest.raises(
        ManifestError, match=f"line 1: manifest: begins with a byte order mark of {name} "
    ) as caught:
        rows(form, "prompt\na".encode(encoding), chunk=1)
    assert caught.value.line == 1


@pytest.mark.parametrize(
    ("data", "line", "field", "message"),
    [
        (b"text\na\n", 1, "text", "unknown column"),
        (b"seed\n1\n", 1, "prompt", "no such column"),
        (b"prompt,prompt\na,b\n", 1, "prompt", "twice"),
        (b"prompt,\na,b\n", 1, "header", "unknown column"),
        (b'prompt\na\n"b\nc\n', 3, "row", "no CSV"),
        (b'prompt\na\n"b"c\n', 3, "row", "no CSV"),
        (b"prompt\na\n\xff\n", 3, "row", "not UTF-8"),
        (b'prompt\n"' + b"a\n" * MAX_LINE_BYTES, 2, "row", "field larger than field limit"),
        (b"prompt\n" + (b'"' + b"a\n" * 50_000 + b'",') * 3, 2, "row", "a quote may be open"),
    ],
)
def test_csv_that_nobody_can_divide_into_records_ends(
    data: bytes, line: int, field: str, message: str
) -> None:
    with pytest.raises(ManifestError) as caught:
        rows("csv", data, chunk=4_096)
    assert (caught.value.line, caught.value.field) == (line, field)
    assert message in caught.value.message


@pytest.mark.parametrize(
    ("record", "field"),
    [(b"a", "row"), (b"a,1,2", "row"), (b"a,True", "seed"), (b"a,1 000", "seed"), (b"a,NaN", "seed")],
)
def test_a_csv_record_may_be_wrong_alone(record: bytes, field: str) -> None:
    bad, good = rows("csv", b"prompt,seed\n" + record + b"\nb,2\n")
    assert bad.error is not None
    assert (bad.error.field, bad.line, good.fields) == (field, 2, {"prompt": "b", "seed": 2})


def parquet(table: dict[str, Any], **options: Any) -> io.BytesIO:
    file = io.BytesIO()
    pq.write_table(pa.table(table), file, **options)
    file.seek(0)
    return file


def test_parquet_has_types_and_nulls() -> None:
    table = {
        "prompt": ["a", "b"],
        "seed": [1, None],
        "num_inference_steps": pa.array([30.0, None]),
        "loras": [[{"name": "x", "weight": None}], None],
        "metadata": pa.array([[("k", "v")], None], pa.map_(pa.string(), pa.string())),
    }
    first, second = read_rows("parquet", parquet(table))
    assert (first.line, second.line) == (1, 2)
    assert first.fields == {
        "prompt": "a",
        "seed": 1,
        "num_inference_steps": 30,
        "loras": [{"name": "x"}],
        "metadata": {"k": "v"},
    }
    assert type(first.fields["num_inference_steps"]) is int
    assert second.fields == {"prompt": "b"}


def test_parquet_numbers_its_rows_through_all_batches() -> None:
    table = {"prompt": [str(number) for number in range(2_500)]}
    found = list(read_rows("parquet", parquet(table, row_group_size=700)))
    assert [(row.line, row.fields["prompt"]) for row in found] == [(n + 1, str(n)) for n in range(2_500)]


@pytest.mark.parametrize("value", [b"bytes", float("nan")])
def test_a_parquet_value_that_json_has_not_spoils_its_row(value: object) -> None:
    [row] = read_rows("parquet", parquet({"prompt": ["a"], "guidance_scale": [value]}))
    assert row.error is not None
    assert (row.error.line, row.error.field) == (1, "guidance_scale")


@pytest.mark.parametrize("data", [b"", b"PAR1", b"prompt\na\n", parquet({"prompt": ["a"]}).getvalue()[:-9]])
def test_what_is_no_parquet_is_refused(data: bytes) -> None:
    with pytest.raises(ManifestError, match="cannot be read as Parquet"):
        list(read_rows("parquet", io.BytesIO(data)))


@pytest.mark.parametrize(
    ("table", "field"), [({"seed": [1]}, "prompt"), ({"prompt": ["a"], "text": ["b"]}, "text")]
)
def test_parquet_needs_the_columns_of_a_manifest(table: dict[str, Any], field: str) -> None:
    with pytest.raises(ManifestError) as caught:
        list(read_rows("parquet", parquet(table)))
    assert caught.value.field == field


def test_a_row_group_that_would_fill_the_memory_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(parquet_rows, "MAX_GROUP_BYTES", 100)
    with pytest.raises(ManifestError, match="row group 0 has"):
        list(read_rows("parquet", parquet({"prompt": ["a" * 99, "b" * 99]})))


def test_a_value_that_swells_ends_a_child_and_nothing_else() -> None:
    """The file has it once, and so has the size that it tells of its row group."""
    one = pa.array(["a" * 20_000_000])
    all_equal = pa.DictionaryArray.from_arrays(pa.array([0] * 100), one)
    bomb = parquet({"prompt": all_equal}, store_schema=False)
    assert len(bomb.getvalue()) < 2_000_000
    with pytest.raises(ManifestError, match="memory"):
        list(read_rows("parquet", bomb))


def test_a_child_that_breaks_is_an_error_of_the_manifest(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    broken = tmp_path / "child.py"
    broken.write_text("raise SystemExit(1)\n")
    monkeypatch.setattr(parquet_rows, "CHILD", broken)
    with pytest.raises(ManifestError, match="memory"):
        list(read_rows("parquet", parquet({"prompt": ["a"]})))


def test_a_row_of_parquet_is_as_long_as_a_line_may_be() -> None:
    long, good = read_rows("parquet", parquet({"prompt": ["a" * 300_000, "ü"]}))
    assert long.error is not None
    assert (long.error.field, long.error.line) == ("row", 1)
    assert good.fields == {"prompt": "ü"}


def test_parquet_needs_a_file_that_can_seek() -> None:
    with pytest.raises(TypeError, match="seek"):
        read_rows("parquet", iter([b"PAR1"]))


@pytest.mark.parametrize(
    ("name", "form"),
    [
        ("a.jsonl", "jsonl"),
        ("a/b.NDJSON", "jsonl"),
        ("a.csv", "csv"),
        ("a.parquet", "parquet"),
        ("a.txt", "text"),
    ],
)
def test_the_ending_of_a_name_tells_the_format(name: str, form: Format) -> None:
    assert format_of(name) == form
    assert format_of(name, "csv") == "csv"


def test_a_name_that_tells_nothing_needs_a_format() -> None:
    with pytest.raises(InvalidInput) as caught:
        format_of("a.json")
    assert (caught.value.field, caught.value.allowed) == ("format", "jsonl, csv, parquet, text")
    assert format_of("a", "text") == "text"


def test_inline_rows_are_counted_from_1() -> None:
    given = ManifestSource(rows=({"prompt": "a"}, {"prompt": "b"}))
    assert [(row.line, row.fields) for row in inline_rows(given)] == [
        (1, {"prompt": "a"}),
        (2, {"prompt": "b"}),
    ]
    prompts = ManifestSource(prompts=("a", "b"))
    assert list(inline_rows(prompts)) == list(inline_rows(given))
