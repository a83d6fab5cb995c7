"""Files as documents, one after the other: JSONL, JSON arrays, CSV and Parquet, in bounded memory."""

import gzip
import os
import stat
import zlib
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO, Final, Literal, cast, get_args

import ijson

from cli.ingest.tables import parquet_rows, rows
from cli.preparing import decoded_line
from schemas.errors import ConfigurationError, InvalidRecord

FileFormat = Literal["jsonl", "json", "csv", "parquet"]
FILE_FORMATS: Final = get_args(FileFormat)

# A line becomes one document in memory; a conversation of years has a few megabytes.
MAX_LINE_BYTES: Final = 64 * (1 << 20)
BUFFER_BYTES: Final = 1 << 18
# As deep as a line of JSON may be.
MAX_DEPTH: Final = 1024
STDIN: Final = "-"
COMPRESSED: Final = ".gz"
_BY_SUFFIX: Final[dict[str, FileFormat]] = {
    ".jsonl": "jsonl",
    ".ndjson": "jsonl",
    ".csv": "csv",
    ".tsv": "csv",
    ".parquet": "parquet",
    ".pq": "parquet",
}
_BYTE_ORDER_MARK: Final = b"\xef\xbb\xbf"


@dataclass(frozen=True, slots=True)
class Document:
    """A line, an item or a row; `place` is for a person, as in `chats.jsonl:12`, `number` counts from 1."""

    place: str
    number: int
    value: Any


@dataclass(frozen=True, slots=True)
class Unreadable:
    """A line or a row that is no document."""

    place: str
    error: InvalidRecord


@dataclass(frozen=True, slots=True)
class InputFile:
    """A file that is there. `size_bytes` is None for a pipe, which has no end that is known and is read but once."""

    name: str
    format: FileFormat
    size_bytes: int | None
    delimiter: str

    @property
    def label(self) -> str:
        return "stdin" if self.name == STDIN else self.name

    @property
    def is_compressed(self) -> bool:
        return self.name.endswith(COMPRESSED)


class OpenFile:
    """The documents of one file, in its order."""

    def __init__(self, file: InputFile, raw: BinaryIO, check_columns: Callable[[str, Sequence[str]], None]) -> None:
        self._file = file
        self._raw = raw
        self._check_columns = check_columns

    def read_bytes(self) -> int:
        """How far it was read, for a bar."""
        return self._raw.tell() if self._file.size_bytes is not None else 0

    def documents(self) -> Iterator[Document | Unreadable]:
        """Raises ConfigurationError where the rest of the file cannot be told apart any more."""
        name = self._file.label
        try:
            yield from self._documents(name)
        except (OSError, EOFError, zlib.error) as error:
            raise ConfigurationError(f"{name} cannot be read to its end: {type(error).__name__}") from error

    def _documents(self, name: str) -> Iterator[Document | Unreadable]:
        file = self._file
        if file.format == "parquet":
            yield from _placed(name, parquet_rows(name, self._raw, self._check_columns))
            return
        compressed = cast(BinaryIO, gzip.GzipFile(fileobj=self._raw)) if file.is_compressed else self._raw
        if file.format == "jsonl":
            yield from _lines(name, compressed)
        elif file.format == "json":
            yield from _items(name, compressed)
        else:
            yield from _placed(name, rows(name, compressed, file.delimiter, self._check_columns))


def find_files(names: Sequence[str], file_format: FileFormat | None, delimiter: str | None) -> list[InputFile]:
    """The files of these names, `-` for standard input; raises ConfigurationError for what cannot be read."""
    if delimiter is not None and len(delimiter) != 1:
        raise ConfigurationError("--delimiter must be one character; a tab is $'\\t' in a shell")
    return [_found(name, file_format, delimiter) for name in names]


def open_file(file: InputFile) -> BinaryIO:
    """Raises ConfigurationError if it may not be read."""
    try:
        if file.name == STDIN:
            # A descriptor of its own: closing it must not close the terminal's.
            return os.fdopen(os.dup(0), "rb", BUFFER_BYTES)
        return Path(file.name).open("rb", BUFFER_BYTES)
    except OSError as error:
        raise ConfigurationError(f"{file.name} cannot be read: {error.strerror}") from error


def _found(name: str, file_format: FileFormat | None, delimiter: str | None) -> InputFile:
    path = Path(name)
    if name == STDIN:
        size_bytes = None
    elif path.is_dir():
        raise ConfigurationError(f"{name} is a folder; name the files in it")
    elif not path.exists():
        raise ConfigurationError(f"there is no file {name}")
    else:
        status = path.stat()
        size_bytes = status.st_size if stat.S_ISREG(status.st_mode) else None
    found = file_format or _format_of(name, is_regular=size_bytes is not None)
    if found == "parquet" and (size_bytes is None or name.endswith(COMPRESSED)):
        raise ConfigurationError(f"{name}: Parquet is read from a plain file, for its index stands at the end")
    is_tabbed = name.removesuffix(COMPRESSED).endswith(".tsv")
    return InputFile(name, found, size_bytes, delimiter or ("\t" if is_tabbed else ","))


def _format_of(name: str, *, is_regular: bool) -> FileFormat:
    suffix = Path(name.removesuffix(COMPRESSED)).suffix.lower()
    if suffix in _BY_SUFFIX:
        return _BY_SUFFIX[suffix]
    if suffix == ".json" and is_regular:
        return "json" if _first_byte(name) == b"[" else "jsonl"
    if suffix == ".zip":
        raise ConfigurationError(f"{name} is an archive; unpack it and name the files in it, as conversations.json")
    raise ConfigurationError(f"what is {name}? Say it with --format {'|'.join(FILE_FORMATS)}")


def _first_byte(name: str) -> bytes:
    try:
        with gzip.open(name) if name.endswith(COMPRESSED) else Path(name).open("rb") as file:
            return file.read(4096).removeprefix(_BYTE_ORDER_MARK).lstrip()[:1]
    except (OSError, EOFError, zlib.error) as error:
        raise ConfigurationError(f"{name} cannot be read: {type(error).__name__}") from error


def _lines(name: str, file: BinaryIO) -> Iterator[Document | Unreadable]:
    number = 0
    while line := file.readline(MAX_LINE_BYTES + 1):
        number += 1
        place = f"{name}:{number}"
        if number == 1:
            line = line.removeprefix(_BYTE_ORDER_MARK)
        if len(line) > MAX_LINE_BYTES:
            while line and not line.endswith(b"\n"):
                line = file.readline(BUFFER_BYTES)
            yield Unreadable(place, InvalidRecord("too-large", f"the line has more than {MAX_LINE_BYTES} bytes"))
        elif line.strip():
            try:
                yield Document(place, number, decoded_line(line))
            except InvalidRecord as error:
                yield Unreadable(place, error)


def _items(name: str, file: BinaryIO) -> Iterator[Document]:
    number = 0
    try:
        for value in ijson.items(ijson.parse(_shallow(ijson.basic_parse(file, use_float=True))), "item"):
            number += 1
            yield Document(f"{name}[{number}]", number, value)
    except (ijson.JSONError, UnicodeDecodeError) as error:
        raise ConfigurationError(
            f"{name} is no JSON behind item {number}, so the rest of it is not read; get a whole copy of it"
        ) from error
    except RecursionError as error:
        raise ConfigurationError(
            f"{name} is nested deeper than {MAX_DEPTH} levels behind item {number}, so the rest of it is not read"
        ) from error


def _shallow(events: Iterable[tuple[str, Any]]) -> Iterator[tuple[str, Any]]:
    """Raise RecursionError for what is nested so deep that ijson would take minutes to name its place."""
    depth = 0
    for event in events:
        if event[0] in ("start_map", "start_array"):
            depth += 1
            if depth > MAX_DEPTH:
                raise RecursionError
        elif event[0] in ("end_map", "end_array"):
            depth -= 1
        yield event


def _placed(name: str, found: Iterator[tuple[int, dict[str, Any] | InvalidRecord]]) -> Iterator[Document | Unreadable]:
    for number, row in found:
        if isinstance(row, InvalidRecord):
            yield Unreadable(f"{name}:{number}", row)
        else:
            yield Document(f"{name}:{number}", number, row)
