"""What the buffer and held windows say of blobs on their way, put together."""

from uuid import UUID

from api.in_flight import in_flight
from schemas.buffer_views import BufferedBlob, BufferView, ClosedBlob, ClosedWindow
from schemas.windows import Position, Unit
from storage.blob_listing import HeldUnit

TOPIC = "chat-messages"


def place(offset: int) -> Position:
    return Position(topic=TOPIC, partition=1, offset=offset, timestamp_ms=5)


def buffered(blob_id: str, offset: int) -> BufferedBlob:
    return BufferedBlob(
        blob_id=blob_id,
        blob_type="chat",
        content_hash=f"hash of {blob_id}",
        position=place(offset),
        token_count=1,
        occurred_at_ms=5,
        recorded_at_ms=5,
    )


def closed(number: int, *blobs: tuple[str, int]) -> ClosedWindow:
    found = tuple(
        ClosedBlob(blob_id=blob_id, content_hash=f"hash of {blob_id}", offset=offset) for blob_id, offset in blobs
    )
    return ClosedWindow(window_id=UUID(int=number), blob_type="chat", reason="tokens", closed_by=99, blobs=found)


def held(number: int, blob_id: str, offset: int) -> HeldUnit:
    content = {"blob_type": "chat", "blob_data": {"messages": [{"role": "user", "content": "x"}]}}
    unit = Unit(
        blob_id=blob_id,
        content_hash=f"hash of {blob_id}",
        token_count=1,
        occurred_at_ms=5,
        recorded_at_ms=5,
        position=place(offset),
        content=content,
    )
    return HeldUnit(unit, UUID(int=number), "chat", "budget")


def view(*windows: ClosedWindow, blobs: tuple[BufferedBlob, ...] = ()) -> BufferView:
    return BufferView(partition=1, next_offset=100, closed=windows, blobs=blobs)


def test_blobs_are_told_in_their_order_with_what_is_known_of_each() -> None:
    seen = view(closed(1, ("b2", 2)), blobs=(buffered("b3", 3),))
    found = in_flight(seen, [held(7, "b1", 1)], (), TOPIC)
    assert [(one.blob_id, one.state, one.reason, one.position.offset) for one in found] == [
        ("b1", "held", "budget", 1),
        ("b2", "extracting", None, 2),
        ("b3", "buffered", None, 3),
    ]
    assert [(one.content_hash, len(one.units)) for one in found] == [
        ("hash of b1", 1),
        ("hash of b2", 0),
        ("hash of b3", 0),
    ]


def test_a_window_that_is_finished_or_held_is_not_being_extracted() -> None:
    seen = view(closed(1, ("b1", 1)), closed(2, ("b2", 2)))
    assert [(one.blob_id, one.state) for one in in_flight(seen, [held(2, "b2", 2)], [UUID(int=1)], TOPIC)] == [
        ("b2", "held")
    ]


def test_a_blob_in_several_windows_is_as_far_as_the_last_of_them() -> None:
    seen = view(closed(1, ("b1", 1)), blobs=(buffered("b1", 4),))
    (found,) = in_flight(seen, [held(7, "b1", 1)], (), TOPIC)
    assert (found.state, found.reason) == ("buffered", "budget")
    (found,) = in_flight(view(closed(1, ("b1", 1)), closed(2, ("b1", 1))), [], [UUID(int=1)], TOPIC)
    assert found.state == "extracting"
