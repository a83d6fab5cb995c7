"""Lines, items and rows of files, in bounded memory, and what is said where they cannot be read."""

import gzip
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import orjson
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from cli.ingest import files
from cli.ingest.files import Document, FileFormat, OpenFile, Unreadable, find_files, open_file
from schemas.errors import ConfigurationError


def anything(name: str, columns: Sequence[str]) -> None:
    pass


def found_in(path: Path, file_format: FileFormat | None = None, delimiter: str | None = None) -> list[Any]:
    """Value or reason of each document, by the end of its place."""
    (file,) = find_files([str(path)], file_format, delimiter)
    with open_file(file) as raw:
        return [
            (one.place.removeprefix(str(path)), one.value if isinstance(one, Document) else one.error.reason)
            for one in OpenFile(file, raw, anything).documents()
        ]


def written(path: Path, content: bytes) -> Path:
    path.write_bytes(content)
    return path


def test_lines_are_numbered_and_bad_ones_are_named(tmp_path: Path) -> None:
    file = written(tmp_path / "chats.jsonl", b'\xef\xbb\xbf{"a": 1}\n\n{"a":\n"\xff"\n{"a": 2}')
    assert found_in(file) == [
        (":1", {"a": 1}),
        (":3", "invalid-json"),
        (":4", "invalid-utf8"),
        (":5", {"a": 2}),
    ]


def test_a_line_that_is_too_long_is_passed_over(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(files, "MAX_LINE_BYTES", 10)
    file = written(tmp_path / "chats.jsonl", b'"' + b"x" * 50 + b'"\n"next"\n"' + b"y" * 7 + b'"\n')
    assert found_in(file) == [(":1", "too-large"), (":2", "next"), (":3", "y" * 7)]


def test_compressed_files_are_read_as_what_is_in_them(tmp_path: Path) -> None:
    assert found_in(written(tmp_path / "a.jsonl.gz", gzip.compress(b"1\n2\n"))) == [(":1", 1), (":2", 2)]
    assert found_in(written(tmp_path / "a.json.gz", gzip.compress(b"[1, 2]"))) == [("[1]", 1), ("[2]", 2)]
    cut = written(tmp_path / "cut.jsonl.gz", gzip.compress(b'"a"\n' * 10_000)[:-9])
    with pytest.raises(ConfigurationError, match="cannot be read to its end"):
        found_in(cut)


def test_a_json_file_is_an_array_or_lines(tmp_path: Path) -> None:
    assert found_in(written(tmp_path / "a.json", b' [{"x": 1.5}, {"x": 2}]')) == [
        ("[1]", {"x": 1.5}),
        ("[2]", {"x": 2}),
    ]
    assert found_in(written(tmp_path / "b.json", b'{"x": 1}\n{"x": 2}\n')) == [(":1", {"x": 1}), (":2", {"x": 2})]


def test_an_array_that_breaks_off_says_behind_which_item(tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match="is no JSON behind item 2, so the rest of it is not read"):
        found_in(written(tmp_path / "a.json", b'[{"x": 1}, {"x": 2}, {"x"'))


def test_an_array_that_is_nested_too_deep_is_refused_at_once(tmp_path: Path) -> None:
    deep = b"[" * 100_000 + b"]" * 100_000
    with pytest.raises(ConfigurationError, match="nested deeper than 1024 levels behind item 1"):
        found_in(written(tmp_path / "a.json", b'[{"x": 1}, ' + deep + b"]"))


def test_rows_are_objects_and_an_empty_cell_is_nothing(tmp_path: Path) -> None:
    file = written(tmp_path / "a.csv", b'\xef\xbb\xbfuser, text\r\nann,"one\r\ntwo"\r\n\r\nbob,\r\n')
    assert found_in(file) == [(":2", {"user": "ann", "text": "one\r\ntwo"}), (":5", {"user": "bob", "text": None})]


def test_rows_that_do_not_fit_the_head_or_are_no_utf8_are_refused_alone(tmp_path: Path) -> None:
    file = written(tmp_path / "a.csv", b"user,text\nann\nann,a,b\nann,caf\xe9\nann,fine\n")
    assert found_in(file) == [
        (":2", "invalid-row"),
        (":3", "invalid-row"),
        (":4", "invalid-utf8"),
        (":5", {"user": "ann", "text": "fine"}),
    ]


def test_a_delimiter_is_given_or_follows_from_the_name(tmp_path: Path) -> None:
    assert found_in(written(tmp_path / "a.tsv", b"user\ttext\nann\thi\n")) == [(":2", {"user": "ann", "text": "hi"})]
    semicolons = written(tmp_path / "b.csv", b"user;text\nann;hi\n")
    assert found_in(semicolons, delimiter=";") == [(":2", {"user": "ann", "text": "hi"})]
    with pytest.raises(ConfigurationError, match=r"one column only, 'user;text'.*--delimiter"):
        found_in(semicolons)


@pytest.mark.parametrize(
    ("content", "problem"),
    [
        (b"", "is empty; its first line must name the columns"),
        ("user,text\nann,hi\n".encode("utf-16"), "is no UTF-8; convert it"),
        (b"a,b,a\n1,2,3\n", "names the column 'a' twice"),
        (b'a,b\n1,"open\n2,3\n', "the rest of the file is not read. Is a quote open"),
    ],
)
def test_a_table_that_cannot_be_read_says_why(tmp_path: Path, content: bytes, problem: str) -> None:
    with pytest.raises(ConfigurationError, match=problem):
        found_in(written(tmp_path / "a.csv", content))


def test_parquet_gives_plain_values_and_keeps_times(tmp_path: Path) -> None:
    table = pa.table(
        {
            "user": [7, 8],
            "at": pa.array([1_767_261_600_123_456_789, None], pa.timestamp("ns", tz="UTC")),
            "messages": [[{"role": "user", "content": "hi"}], []],
        }
    )
    pq.write_table(table, tmp_path / "a.parquet")
    assert found_in(tmp_path / "a.parquet") == [
        (":1", {"user": 7, "at": "2026-01-01T10:00:00.123456+00:00", "messages": [{"role": "user", "content": "hi"}]}),
        (":2", {"user": 8, "at": None, "messages": []}),
    ]


def test_a_file_that_is_no_parquet_says_so(tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match="cannot be read as Parquet"):
        found_in(written(tmp_path / "a.parquet", b"not at all"))


def test_parquet_without_its_package_names_the_extra(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(__import__("sys").modules, "pyarrow", None)
    with pytest.raises(ConfigurationError, match=r"needs the extra parquet: pip install 'memostream\[parquet\]'"):
        found_in(written(tmp_path / "a.parquet", b"PAR1"))


@pytest.mark.parametrize(
    ("name", "problem"),
    [
        ("nothing.jsonl", "there is no file"),
        (".", "is a folder"),
        ("chats.txt", r"Say it with --format jsonl\|json\|csv\|parquet"),
        ("export.zip", "is an archive; unpack it"),
        ("a.parquet.gz", "is read from a plain file"),
    ],
)
def test_what_cannot_be_opened_says_why(tmp_path: Path, name: str, problem: str) -> None:
    if name not in (".", "nothing.jsonl"):
        (tmp_path / name).touch()
    with pytest.raises(ConfigurationError, match=problem):
        find_files([str(tmp_path / name)], None, None)


def test_a_delimiter_of_two_characters_is_none(tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match="must be one character"):
        find_files([str(written(tmp_path / "a.csv", b""))], None, "||")


def test_a_long_array_is_read_item_by_item(tmp_path: Path) -> None:
    file = written(tmp_path / "a.json", orjson.dumps([{"text": "x" * 100}] * 20_000))
    (given,) = find_files([str(file)], None, None)
    with open_file(given) as raw:
        opened = OpenFile(given, raw, anything)
        first = next(opened.documents())
        assert not isinstance(first, Unreadable)
        assert first.value == {"text": "x" * 100}
        assert opened.read_bytes() < file.stat().st_size / 2
