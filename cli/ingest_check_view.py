"""What a dry run of ingest.sources found, for a person or a script."""

from collections import Counter
from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any, Final

import orjson
from rich.text import Text

from cli.console import out, plain_table, print_json, printable, short_time
from cli.ingest_check import CheckedRecord, CheckedSource
from schemas.mapping_blobs import MappedBlob, Refusal
from schemas.records import DEFAULT_PROJECT_ID

SHOWN_MESSAGES: Final = 4
SHOWN_CHARACTERS: Final = 60
# What left a record out, in words.
IGNORED: Final = {
    "where": "ignored: where yields nothing",
    "each": "ignored: each yields an empty list",
    "messages": "ignored: no message is left",
    "null": "ignored: a null value",
}


def print_checked(checked: Sequence[CheckedSource], *, show_text: bool, as_json: bool) -> None:
    """Print every record of the samples; with `show_text` off, sizes stand in for what was said."""
    if as_json:
        for source in checked:
            for record in source.records:
                print_json(record_document(record, show_text=show_text))
        return
    console = out()
    for source in checked:
        console.print(Text.assemble((source.source.topic, "bold"), f"  {_records(len(source.records))}"))
        if not source.records:
            continue
        table = plain_table("record", "user", "said at", "what becomes of it")
        for record in source.records:
            for row in _rows(record, show_text=show_text):
                table.add_row(*row)
        console.print(table)
        console.print(summary(source))


def summary(source: CheckedSource) -> str:
    """Counts of blobs and records, in one line."""
    blobs = sum(len(record.mapped.blobs) for record in source.records)
    refused = sum(bool(record.mapped.refusals) for record in source.records)
    ignored: Counter[str] = Counter()
    for record in source.records:
        ignored.update(record.mapped.ignored)
    left_out = "".join(f", {count} {IGNORED[what]}" for what, count in sorted(ignored.items()))
    return f"{_records(len(source.records))}: {blobs} mapped, {refused} refused{left_out}"


def record_document(record: CheckedRecord, *, show_text: bool) -> dict[str, Any]:
    """One record for `--json`: where it lies, the values that would be sent, and what is refused."""
    mapped = [orjson.loads(blob.value) for blob in record.mapped.blobs]
    if not show_text:
        mapped = [
            {
                name: _without_text(value) if name in ("blob_data", "fields") else value
                for name, value in document.items()
            }
            for document in mapped
        ]
    return {
        "topic": record.record.topic,
        "partition": record.record.partition,
        "offset": record.record.offset,
        "timestamp_ms": record.record.timestamp_ms,
        "mapped": mapped,
        "refused": [_refusal_document(refusal, show_text=show_text) for refusal in record.mapped.refusals],
        "ignored": dict(record.mapped.ignored),
    }


def _rows(record: CheckedRecord, *, show_text: bool) -> list[tuple[str, str, str, Text]]:
    place = f"{record.record.partition}/{record.record.offset}"
    rows = []
    for blob in record.mapped.blobs:
        user = blob.blob.user_id
        if blob.blob.project_id != DEFAULT_PROJECT_ID:
            user = f"{blob.blob.project_id}/{user}"
        at = blob.blob.created_at or datetime.fromtimestamp(max(0, record.record.timestamp_ms) / 1000, UTC)
        where = place if blob.item is None else f"{place}[{blob.item}]"
        rows.append((where, printable(user), short_time(at), _said(blob, show_text=show_text)))
    for refusal in record.mapped.refusals:
        where = place if refusal.item is None else f"{place}[{refusal.item}]"
        rows.append((where, "", "", _refused(refusal, show_text=show_text)))
    rows += [(place, "", "", Text(IGNORED[what], "dim")) for what in record.mapped.ignored]
    return rows


def _said(blob: MappedBlob, *, show_text: bool) -> Text:
    data = orjson.loads(blob.value)["blob_data"]
    pieces = data.get("messages") or [{"role": blob.blob.blob_type, "content": data}]
    lines = [_line(piece, show_text=show_text) for piece in pieces[:SHOWN_MESSAGES]]
    if len(pieces) > SHOWN_MESSAGES:
        lines.append(Text(f"and {len(pieces) - SHOWN_MESSAGES} more", "dim"))
    return Text("\n").join(lines)


def _line(piece: dict[str, Any], *, show_text: bool) -> Text:
    content = piece["content"] if isinstance(piece["content"], str) else orjson.dumps(piece["content"]).decode()
    said = _clipped(content) if show_text else f"{len(content.encode())} bytes"
    alias = f" ({printable(piece['alias'])})" if piece.get("alias") and show_text else ""
    return Text.assemble((f"{piece['role']}{alias}: ", "cyan"), said)


def _refused(refusal: Refusal, *, show_text: bool) -> Text:
    line = Text.assemble(("refused ", "red"), f"{refusal.reason}: {refusal.detail}")
    if refusal.expression is not None:
        line.append(f"\n  expression  {printable(refusal.expression)}", "dim")
    if refusal.found is not None and show_text:
        line.append(f"\n  found       {_clipped(_json(refusal.found))}", "dim")
    return line


def _refusal_document(refusal: Refusal, *, show_text: bool) -> dict[str, Any]:
    document: dict[str, Any] = {
        "item": refusal.item,
        "field": refusal.field,
        "expression": refusal.expression,
        "reason": refusal.reason,
        "detail": refusal.detail,
    }
    return {**document, "found": _json(refusal.found)} if show_text and refusal.found is not None else document


def _without_text(data: Any) -> Any:
    """The same shape, with the number of bytes in place of every text but roles."""
    if isinstance(data, dict):
        return {name: value if name == "role" else _without_text(value) for name, value in data.items()}
    if isinstance(data, list):
        return [_without_text(value) for value in data]
    return len(data.encode()) if isinstance(data, str) else data


def _json(found: Any) -> str:
    try:
        return orjson.dumps(found).decode()
    except TypeError:
        return str(type(found).__name__)


def _clipped(text: str) -> str:
    text = printable(text)
    return text if len(text) <= SHOWN_CHARACTERS else f"{text[: SHOWN_CHARACTERS - 1]}…"


def _records(count: int) -> str:
    return "no record" if count == 0 else f"{count:,} record{'' if count == 1 else 's'}"
