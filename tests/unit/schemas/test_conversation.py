"""Units as messages: the text that is counted and that models read."""

from typing import Any

import pytest

from schemas.conversation import conversation_of, messages_of
from schemas.windows import Unit
from tests.support.buffer_step import START_MS, unit


def of_type(blob_type: str, data: dict[str, Any]) -> Unit:
    return unit("b1", {"blob_type": blob_type, "blob_data": data, "session_id": "s1"}, occurred_at_ms=START_MS)


def test_a_message_renders_as_time_speaker_and_text() -> None:
    messages = [
        {"role": "user", "content": "hi", "alias": "Ann"},
        {"role": "assistant", "content": "hello", "created_at": "spring"},
    ]
    rendered = [message.render() for message in messages_of(of_type("chat", {"messages": messages}))]
    assert rendered == ["[2026/11/18] Ann(user): hi", "[spring] assistant: hello"]


@pytest.mark.parametrize(
    ("blob_type", "data", "lines"),
    [
        ("summary", {"summary": "s"}, [("summary", "s")]),
        ("doc", {"content": "d"}, [("doc", "d")]),
        ("code", {"content": "c", "language": "go"}, [("code", "c")]),
        ("transcript", {"transcripts": [{"content": "t", "speaker": "Bo"}]}, [("transcript", "t")]),
        ("image", {"url": "http://x/y.png"}, []),
    ],
)
def test_every_blob_type_has_its_text(blob_type: str, data: dict[str, Any], lines: list[tuple[str, str]]) -> None:
    messages = messages_of(of_type(blob_type, data))
    assert [(message.role, message.content) for message in messages] == lines


def test_message_ids_count_from_the_place_in_the_whole_blob() -> None:
    whole = of_type("chat", {"messages": [{"role": "user", "content": str(n)} for n in range(3)]})
    third = of_type("chat", {"messages": [{"role": "user", "content": "2"}]}).model_copy(update={"message_index": 2})
    assert [message.message_id for message in conversation_of([whole])] == ["b1/0", "b1/1", "b1/2"]
    assert [message.message_id for message in messages_of(third)] == ["b1/2"]
    assert messages_of(third)[0].session_id == "s1"
