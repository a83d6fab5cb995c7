"""Blobs are put together again of whatever pieces they were cut into."""

from collections.abc import Mapping
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

import pytest

from api.blob_texts import _at_hand, whole_content
from api.finding import Located
from api.waiting import Waited
from schemas.identity import content_hash
from schemas.windows import Position, Unit
from storage.kept_blobs import KeptPiece
from storage.units import WHOLE, RecordedUnit
from streams.windowing import split

SAID = datetime(2025, 3, 1, 9, 0, tzinfo=UTC)
RECORDED = datetime(2025, 3, 1, 9, 1, tzinfo=UTC)
MESSAGES = [
    {"role": "user", "content": "One two three. " * 20, "alias": "Ann"},
    {"role": "assistant", "content": "short"},
    {"role": "user", "content": "Four five six. " * 20},
]
LINES = [{"content": "Seven eight. " * 20, "start_timestamp_in_seconds": 1.5, "speaker": "Bob"}]


def words(text: str) -> int:
    return len(text.split())


@pytest.mark.parametrize(
    ("blob_type", "data"),
    [
        ("chat", {"messages": MESSAGES}),
        ("transcript", {"transcripts": LINES}),
        ("doc", {"content": "Nine ten eleven. " * 30}),
        ("summary", {"summary": "Twelve thirteen. " * 30}),
        ("code", {"content": "x = 1\n" * 60, "language": "python"}),
    ],
)
def test_pieces_of_a_blob_make_the_blob(blob_type: str, data: Mapping[str, Any]) -> None:
    content = {"blob_type": blob_type, "blob_data": data, "fields": {"a": 1}, "session_id": "s"}
    place = Position(topic="chat-messages", partition=0, offset=0, timestamp_ms=0)
    whole = Unit(
        blob_id="b1",
        content_hash="x",
        token_count=0,
        occurred_at_ms=0,
        recorded_at_ms=0,
        position=place,
        content=content,
    )
    pieces = [(*piece.key[1:], piece.content) for piece in split(whole, 30, words)]
    assert len(pieces) > 2
    assert whole_content(pieces[::-1]) == content
    assert whole_content([*pieces[:1], (-1, -1, content)]) == content


def test_a_kept_blob_that_lies_on_no_topic_was_taken_when_it_was_recorded() -> None:
    content = {"blob_type": "chat", "blob_data": {"messages": MESSAGES[1:2]}}
    kept = KeptPiece("b1", WHOLE, WHOLE, content, SAID)
    hashed = content_hash(content)
    row = RecordedUnit("default", "ann", "b1", WHOLE, WHOLE, "applied", None, hashed, None, None, None, RECORDED)
    located = Located(Waited("applied"), (row,), (kept,))
    assert _at_hand(located) == (content, SAID, RECORDED)
    other = replace(row, content_hash="another")
    assert _at_hand(replace(located, rows=(other,))) is None
