"""Records that only memostream writes: what does not fit stops the worker, for a skipped window would be lost."""

import orjson
import pytest

from schemas.errors import InvalidRecord, MemostreamError, NewerVersion
from schemas.identity import window_id
from schemas.windows import Position, Window, WindowCommand, decode_window
from tests.support.buffer_step import START_MS, unit

POSITION = Position(topic="chat-messages", partition=0, offset=1, timestamp_ms=START_MS)


def window() -> Window:
    held = unit("b1")
    return Window(
        window_id=window_id("default", "u1", [held.key]),
        project_id="default",
        user_id="u1",
        blob_type="chat",
        reason="idle",
        token_count=10,
        units=[held],
    )


def test_a_window_comes_back_as_it_was_written() -> None:
    decoded = decode_window(orjson.dumps(window().model_dump(mode="json", exclude_none=True)))
    assert isinstance(decoded, Window)
    assert decoded == window().model_copy(update={"units": [unit("b1")]})


def test_a_command_comes_back_as_it_was_written() -> None:
    document = {
        "kind": "command",
        "command": {"command": "flush", "user_id": "u1"},
        "command_id": "c1",
        "position": POSITION.model_dump(),
    }
    decoded = decode_window(orjson.dumps(document))
    assert isinstance(decoded, WindowCommand)
    assert (decoded.user_id, decoded.project_id, decoded.command_id) == ("u1", "default", "c1")


def test_a_newer_window_stops_the_worker() -> None:
    with pytest.raises(NewerVersion, match="v 2, this worker reads up to 1"):
        decode_window(b'{"v": 2, "anything": true}')


@pytest.mark.parametrize("value", [b"", b"not json", b"[]", b'"text"', b"{}", b'{"kind": "command"}', b'{"v": "1"}'])
def test_anything_else_is_an_error_and_never_a_dead_letter(value: bytes) -> None:
    with pytest.raises(MemostreamError) as caught:
        decode_window(value)
    assert not isinstance(caught.value, InvalidRecord)


def test_the_first_position_of_a_forwarded_unit_is_where_its_producer_put_it() -> None:
    assert unit("b1", origin=POSITION).first_position == POSITION
    assert unit("b1").first_position == unit("b1").position


def test_a_units_key_tells_whole_blobs_messages_and_parts_apart() -> None:
    whole = unit("b1")
    message = whole.model_copy(update={"message_index": 2})
    part = message.model_copy(update={"part": 0})
    assert (whole.key, message.key, part.key) == (("b1", -1, -1), ("b1", 2, -1), ("b1", 2, 0))
