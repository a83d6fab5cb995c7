"""Blobs are put together again of whatever pieces they were cut into."""

from collections.abc import Mapping
from typing import Any

import pytest

from api.blob_texts import whole_content
from schemas.windows import Position, Unit
from streams.windowing import split

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
