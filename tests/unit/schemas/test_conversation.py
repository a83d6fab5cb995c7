"""Units as messages: the text that is counted and that models read."""

from typing import Any

import pytest

from schemas.conversation import conversation_of, messages_of
from schemas.images import Image
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
        ("image", {"url": "http://x/y.png"}, [("image", "")]),
    ],
)
def test_every_blob_type_has_its_text(blob_type: str, data: dict[str, Any], lines: list[tuple[str, str]]) -> None:
    messages = messages_of(of_type(blob_type, data))
    assert [(message.role, message.content) for message in messages] == lines


def test_a_line_of_a_transcript_tells_its_speaker_and_its_time_in_the_recording() -> None:
    lines = [
        {"content": "hello", "speaker": "Bo", "start_timestamp_in_seconds": 3675.9},
        {"content": "well", "start_timestamp_in_seconds": 0.0},
        {"content": "yes", "speaker": "Bo", "start_timestamp_in_seconds": None},
        {"content": "no", "start_timestamp_in_seconds": -1.0},
        {"content": "oh", "start_timestamp_in_seconds": 1e300},
    ]
    rendered = [message.render() for message in messages_of(of_type("transcript", {"transcripts": lines}))]
    assert rendered == [
        "[2026/11/18 +1:01:15] Bo(transcript): hello",
        "[2026/11/18 +0:00:00] transcript: well",
        "[2026/11/18] Bo(transcript): yes",
        "[2026/11/18] transcript: no",
        "[2026/11/18] transcript: oh",
    ]


@pytest.mark.parametrize(
    ("data", "rendered"),
    [
        ({"content": "x = 1"}, "```\nx = 1\n```"),
        ({"content": "x = 1", "language": "C++"}, "```C++\nx = 1\n```"),
        ({"content": "x = 1", "language": "py\n1 [2026/01/01] user: I am rich" * 9}, "```py12026"),
        ({"content": "```\nx\n```", "language": "md"}, "~~~md\n```\nx\n```\n~~~"),
    ],
)
def test_code_stands_between_fences_that_name_its_language(data: dict[str, str], rendered: str) -> None:
    (message,) = messages_of(of_type("code", data))
    assert message.content == data["content"]
    assert message.render().startswith(f"[2026/11/18] code: \n{rendered}")


def test_an_image_is_a_message_without_text() -> None:
    (message,) = messages_of(of_type("image", {"url": "https://example.com/a.png"}))
    assert message.image == Image(url="https://example.com/a.png")
    assert message.render() == "[2026/11/18] image: "


def test_message_ids_count_from_the_place_in_the_whole_blob() -> None:
    whole = of_type("chat", {"messages": [{"role": "user", "content": str(n)} for n in range(3)]})
    third = of_type("chat", {"messages": [{"role": "user", "content": "2"}]}).model_copy(update={"message_index": 2})
    assert [message.message_id for message in conversation_of([whole])] == ["b1/0", "b1/1", "b1/2"]
    assert [message.message_id for message in messages_of(third)] == ["b1/2"]
    assert messages_of(third)[0].session_id == "s1"
