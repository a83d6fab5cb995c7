"""What a transaction publishes."""

from datetime import UTC, datetime
from uuid import UUID, uuid4

import orjson

from schemas.changes import ProfileEntry
from storage.outgoing import STATE_MESSAGE_IDS, Outgoing

NOW = datetime(2026, 11, 20, 10, 0, tzinfo=UTC)


def test_an_entry_of_the_state_names_its_latest_messages_only() -> None:
    said = [f"blob-{number}/0" for number in range(STATE_MESSAGE_IDS + 5)]
    entry = ProfileEntry(
        id=UUID(int=1),
        topic="interest",
        sub_topic="music",
        content="cello",
        occurred_at="2026-11-20T10:00:00Z",
        recorded_at="2026-11-20T10:00:00Z",
        update_hits=0,
        message_ids=said,
    )
    outgoing = Outgoing("default", "ann", 0, NOW, uuid4)
    outgoing.profile_state(1, [entry])
    (row,) = outgoing.rows
    assert row.payload is not None
    (published,) = orjson.loads(row.payload)["profile"]
    assert published["message_ids"] == said[-STATE_MESSAGE_IDS:]
    assert published["content"] == "cello"
