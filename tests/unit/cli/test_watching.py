"""Change events as a person reads them."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import orjson

from cli.watching import Filter, as_document, describe_record, user_of
from streams.topics import Topics

TOPICS = Topics("t-")
TIMES = {"occurred_at": "2026-11-20T10:00:00Z", "recorded_at": "2026-11-20T10:00:05Z"}
ENTRY = {
    "id": "2f0e1c7a-5d2b-4c59-9d0c-0f1f8f0b7c11",
    "topic": "contact_info",
    "sub_topic": "city",
    "content": "Oslo",
    "update_hits": 0,
    "message_ids": ["b1/0", "b1/2"],
    **TIMES,
}
EVENT = {
    "id": "9a4e6f0d-3f0b-4a52-8c7c-2f7f4e1f5a10",
    "summary": None,
    "tags": [],
    "message_ids": ["b1/0"],
    **TIMES,
}
SOURCE = {
    "window_ids": [],
    "topic": "t-chat-messages",
    "partition": 0,
    "offset_from": 3,
    "offset_to": 5,
    "message_ids": ["b1/0", "b1/2"],
    "extractor": None,
    "snapshot": "false",
}


@dataclass
class Record:
    """What aiokafka returns, as far as it is used."""

    topic: str
    value: bytes | None
    key: bytes | None = b"default/ann"
    partition: int = 0
    offset: int = 7
    timestamp: int = 1_000
    headers: Sequence[tuple[str, bytes | None]] = field(default_factory=list)


def change(topic: str, **parts: Any) -> Record:
    document = {
        "op": "c",
        "before": None,
        "after": ENTRY,
        "ts_ms": 1_763_632_800_000,
        "revision": 3,
        "project_id": "default",
        "user_id": "ann",
        "source": SOURCE,
        **parts,
    }
    return Record(topic, orjson.dumps(document))


def text_of(record: Record) -> str:
    return describe_record(record, TOPICS).plain


def test_a_new_fact_names_user_slot_content_and_messages() -> None:
    assert text_of(change("t-profile-updated")) == "10:00:00 + ann  contact_info/city: Oslo  ← b1/0, b1/2"


def test_a_changed_fact_shows_what_it_was() -> None:
    record = change("t-profile-updated", op="u", before={**ENTRY, "content": "Bergen"})
    assert "Bergen → Oslo" in text_of(record)


def test_a_removed_fact_shows_what_is_gone() -> None:
    record = change("t-profile-updated", op="d", before=ENTRY, after=None)
    assert "- ann  contact_info/city: Oslo" in text_of(record)


def test_a_user_of_another_project_is_named_with_it() -> None:
    assert "shop/ann" in text_of(change("t-profile-updated", project_id="shop"))


def test_an_event_shows_its_summary_or_first_line_and_counts_the_rest() -> None:
    gists = [
        {"text": text, "message_ids": ["b1/0"], "occurred_at": TIMES["occurred_at"]}
        for text in ("moved", "packed", "slept")
    ]
    assert "event: moved (+2 more)" in text_of(change("t-event-updated", after={**EVENT, "gists": gists}))
    summed_up = {**EVENT, "summary": "a day", "gists": gists[:1]}
    assert "event: a day" in text_of(change("t-event-updated", after=summed_up))


def test_what_users_said_cannot_steer_the_terminal() -> None:
    record = change("t-profile-updated", after={**ENTRY, "content": "\x1b[2J[red]x[/red]\ny"})
    assert "\x1b" not in text_of(record)
    assert "[red]x[/red] y" in text_of(record)


def test_a_dead_letter_shows_place_and_reason_but_not_what_it_says() -> None:
    headers = [
        ("__memostream.errors.topic", b"chat-messages"),
        ("__memostream.errors.partition", b"3"),
        ("__memostream.errors.offset", b"41"),
        ("__memostream.errors.reason", b"invalid-json"),
        ("__memostream.errors.message", b"line 1"),
    ]
    text = text_of(Record("t-dead-letters", b"secret", headers=headers))
    assert "chat-messages/3/41 invalid-json: line 1" in text
    assert "secret" not in text


def test_records_are_filtered_by_project_and_user() -> None:
    assert Filter().wants("default", "ann")
    assert Filter(user_id="ann").wants("shop", "ann")
    assert not Filter(user_id="ann", project_id="default").wants("shop", "ann")


def test_a_user_id_may_hold_a_slash_but_a_project_id_does_not() -> None:
    assert user_of(Record("t-profile-updated", b"{}", key=b"shop/a/b"), TOPICS) == ("shop", "a/b")


def test_the_user_of_a_dead_letter_is_in_its_value_if_that_can_be_read() -> None:
    assert user_of(Record("t-dead-letters", b'{"user_id": "ann"}', key=b"x"), TOPICS) == ("default", "ann")
    assert user_of(Record("t-dead-letters", b"\xff", key=b"x"), TOPICS) == (None, None)


def test_a_script_sees_position_key_headers_and_value() -> None:
    document = as_document(Record("t-dead-letters", b"no json \xff", headers=[("a", b"b")]))
    assert document["offset"] == 7
    assert document["headers"] == {"a": "b"}
    assert document["value"] == "no json �"


def test_a_dead_letter_with_a_header_without_a_value_is_shown() -> None:
    record = Record("t-dead-letters", b"{}", headers=[("trace", None), ("__memostream.errors.reason", b"too-large")])
    assert "too-large" in text_of(record)
    assert as_document(record)["headers"] == {"trace": None, "__memostream.errors.reason": "too-large"}
