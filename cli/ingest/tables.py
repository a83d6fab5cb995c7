"""Rows of CSV and Parquet files as objects, by their columns' names."""

import csv
import io
from collections.abc import Callable, Iterator, Sequence
from datetime import date, datetime, time, timedelta
from decimal import Decimal
from typing import Any, BinaryIO, Final

from schemas.errors import ConfigurationError, InvalidRecord

# Python's own limit is 128 KiB, less than a long answer; a longer one than this fits no topic anyway.
MAX_CELL_CHARACTERS: Final = 16 * (1 << 20)
ROWS_AT_ONCE: Final = 1000
EXTRA: Final = "parquet"

CheckColumns = Callable[[str, Sequence[str]], None]
Row = tuple[int, dict[str, Any] | InvalidRecord]


def rows(name: str, file: BinaryIO, delimiter: str, check_columns: CheckColumns) -> Iterator[Row]:
    """Rows below the head, each with the number of the line on which it begins; an empty cell is null.

    Raises ConfigurationError for a head that names no columns, and where the rest cannot be told apart.
    """
    csv.field_size_limit(MAX_CELL_CHARACTERS)
    # What is no UTF-8 is one row's fault, and is found there.
    text = io.TextIOWrapper(file, encoding="utf-8-sig", errors="surrogateescape", newline="")
    reader = csv.reader(text, delimiter=delimiter, strict=True)
    try:
        head = next(reader, None)
        if head is None:
            raise ConfigurationError(f"{name} is empty; its first line must name the columns")
        if not _is_utf8(head):
            raise ConfigurationError(
                f"{name} is no UTF-8; convert it, as with iconv -t UTF-8, or export it as CSV UTF-8"
            )
        columns = _columns(name, head, delimiter)
        check_columns(name, columns)
        begins = reader.line_num + 1
        for cells in reader:
            # A blank line has no cells.
            if cells:
                yield begins, _row(columns, cells)
            begins = reader.line_num + 1
    except csv.Error as error:
        raise ConfigurationError(
            f"{name}:{reader.line_num}: {error}; the rest of the file is not read. Is a quote open, or is --delimiter "
            "another one?"
        ) from error
    finally:
        # The file is its opener's to close.
        text.detach()


def parquet_rows(name: str, file: BinaryIO, check_columns: CheckColumns) -> Iterator[Row]:
    """Rows, counted from 1, a thousand at a time. Raises ConfigurationError without the extra, and for another file."""
    try:
        import pyarrow as pa
        import pyarrow.parquet as pq
    except ImportError as error:
        raise ConfigurationError(
            f"{name}: Parquet needs the extra {EXTRA}: pip install 'memostream[{EXTRA}]'"
        ) from error
    number = 0
    try:
        with pq.ParquetFile(file) as parquet:
            check_columns(name, parquet.schema_arrow.names)
            target = pa.schema([field.with_type(_in_microseconds(pa, field.type)) for field in parquet.schema_arrow])
            for batch in parquet.iter_batches(batch_size=ROWS_AT_ONCE):
                for row in pa.Table.from_batches([batch]).cast(target, safe=False).to_pylist():
                    number += 1
                    yield number, {column: _plain(value) for column, value in row.items()}
    except (pa.ArrowException, OSError) as error:
        raise ConfigurationError(
            f"{name} cannot be read as Parquet behind row {number} ({type(error).__name__}); get a whole copy of it"
        ) from error


def _columns(name: str, head: Sequence[str], delimiter: str) -> list[str]:
    columns = [column.strip() for column in head]
    twice = next((column for column in columns if columns.count(column) > 1), None)
    if twice is not None:
        raise ConfigurationError(f"{name} names the column {twice!r} twice; rename one of them")
    if len(columns) == 1 and any(other in columns[0] for other in ",;\t|" if other != delimiter):
        raise ConfigurationError(
            f"{name} has one column only, {columns[0]!r}; if others stand in it, name what parts them with --delimiter"
        )
    return columns


def _row(columns: Sequence[str], cells: Sequence[str]) -> dict[str, Any] | InvalidRecord:
    if len(cells) != len(columns):
        return InvalidRecord(
            "invalid-row", f"it has {len(cells)} cells and the head {len(columns)}; quote texts that hold the delimiter"
        )
    if not _is_utf8(cells):
        return InvalidRecord("invalid-utf8", "it is no UTF-8; convert the file, as with iconv -t UTF-8")
    return {column: cell or None for column, cell in zip(columns, cells, strict=True)}


def _is_utf8(cells: Sequence[str]) -> bool:
    """What was no UTF-8 has become surrogates."""
    try:
        "".join(cells).encode()
    except UnicodeEncodeError:
        return False
    return True


def _in_microseconds(pa: Any, kind: Any) -> Any:
    """Python's times have no nanoseconds, and pyarrow would rather fail than lose them."""
    if pa.types.is_timestamp(kind) and kind.unit == "ns":
        return pa.timestamp("us", tz=kind.tz)
    if pa.types.is_struct(kind):
        return pa.struct([field.with_type(_in_microseconds(pa, field.type)) for field in kind])
    if pa.types.is_list(kind):
        return pa.list_(kind.value_field.with_type(_in_microseconds(pa, kind.value_type)))
    return kind


def _plain(value: Any) -> Any:
    """As JSON would hold it; bytes stay, and are refused by the field that meets them."""
    match value:
        case datetime() | date() | time():
            return value.isoformat()
        case Decimal():
            return int(value) if value == value.to_integral_value() else float(value)
        case timedelta():
            return value.total_seconds()
        case dict():
            return {key: _plain(item) for key, item in value.items()}
        case list():
            return [_plain(item) for item in value]
    return value
