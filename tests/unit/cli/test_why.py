"""The chain behind a fact: which changes and messages belong to it, and how they are shown."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any
from uuid import UUID

import pytest

from cli.why_chain import (
    Evidence,
    SlotChain,
    joined_into,
    link_changes,
    link_event,
    link_messages,
    nearest_slots,
    slot_history,
    sought_blobs,
    unit_of_message,
)
from cli.why_view import event_document, event_view, marked, slot_document, slot_view
from schemas.memory import Quote
from schemas.sought_blobs import FoundBlob
from schemas.windows import MessageId, Position, Unit
from storage.browsing import EventRow, GistRow, HistoryRow
from storage.kept_blobs import KeptPiece
from storage.profile_writing import ProfileRow
from storage.units import RecordedUnit, book_of

NOW = datetime(2026, 11, 20, 12, 0, tzinfo=UTC)
SAID = datetime(2026, 2, 1, 18, 0, tzinfo=UTC)
WINDOW = UUID(int=7)
EXTRACTOR = {"name": "openai", "version": "3", "model": "gpt", "prompt_hash": "0123456789abcdef"}


def position(offset: int = 12, topic: str = "chat-messages") -> Position:
    return Position(topic=topic, partition=3, offset=offset, timestamp_ms=1)


def recorded(blob_id: str = "b1", message_index: int = -1, part: int = -1, **more: Any) -> RecordedUnit:
    values: dict[str, Any] = {
        "project_id": "default",
        "user_id": "ann",
        "blob_id": blob_id,
        "message_index": message_index,
        "part": part,
        "state": "applied",
        "reason": None,
        "content_hash": "hash",
        "window_id": WINDOW,
        "position": position(),
        "origin": None,
        "recorded_at": NOW,
    }
    return RecordedUnit(**(values | more))


def content(*texts: str) -> dict[str, Any]:
    return {"blob_type": "chat", "blob_data": {"messages": [{"role": "user", "content": text} for text in texts]}}


def found(*texts: str, blob_id: str = "b1") -> FoundBlob:
    unit = Unit(
        blob_id=blob_id,
        content_hash="hash",
        token_count=0,
        occurred_at_ms=int(SAID.timestamp() * 1000),
        recorded_at_ms=0,
        position=position(),
        content=content(*texts),
    )
    return FoundBlob(unit)


def change(number: int, after: str | None, before: str | None = None, **more: Any) -> HistoryRow:
    values: dict[str, Any] = {
        "history_id": number,
        "profile_id": UUID(int=1),
        "topic": "contact_info",
        "sub_topic": "city",
        "op": "c" if before is None else "d" if after is None else "u",
        "before": before,
        "after": after,
        "why": "update",
        "revision": number,
        "message_ids": ("b1/0",),
        "window_ids": (WINDOW,),
        "extractor": EXTRACTOR,
        "occurred_at": SAID,
        "recorded_at": NOW,
    }
    return HistoryRow(**(values | more))


def evidence(
    *rows: RecordedUnit,
    kept: Mapping[str, Sequence[KeptPiece]] | None = None,
    blobs: Mapping[str, FoundBlob] | None = None,
    asked: bool = True,
) -> Evidence:
    return Evidence(book_of(rows or [recorded()]), kept or {}, blobs or {}, asked)


def chain(*changes: HistoryRow, of: Evidence, current: str | None = "Oslo", **more: Any) -> SlotChain:
    times = (SAID, NOW, NOW, NOW)
    row = ProfileRow(UUID(int=1), "contact_info", "city", current or "", 1, ("b1/0",), (WINDOW,), *times)
    linked = link_changes(changes, of)
    return SlotChain("default", "ann", "contact_info", "city", row if current else None, linked, **more)


def test_the_history_of_a_slot_has_that_of_slots_that_were_joined_into_it_but_not_what_they_were_later() -> None:
    history = [
        change(7, "now", sub_topic="town"),
        change(6, None, "a place", sub_topic="place", why="organize", revision=5),
        change(5, "joined", "Oslo", joined=("place",), why="organize"),
        change(4, "a place", "place", sub_topic="place", joined=("spot",)),
        change(3, "Oslo"),
        change(2, "spot", sub_topic="spot"),
        change(1, "other", sub_topic="street"),
    ]
    assert [row.history_id for row in slot_history(history, "city")] == [5, 4, 3, 2]
    assert [row.history_id for row in slot_history(history, "place")] == [6, 4, 2]
    assert joined_into(history, "place") == "city"
    assert joined_into(history, "city") is None
    assert joined_into(history, "nothing") is None


@pytest.mark.parametrize(
    ("asked", "nearest"),
    [
        (("contact_info", "town"), ["contact_info/city", "contact_info/street"]),
        (("work", "titel"), ["work/title"]),
        (("home", "city"), ["contact_info/city"]),
        (("x", "y"), ["contact_info/city", "contact_info/street", "work/title"]),
    ],
)
def test_the_nearest_slots_are_those_with_like_names(asked: tuple[str, str], nearest: list[str]) -> None:
    known = [("contact_info", "city"), ("contact_info", "street"), ("work", "title")]
    assert nearest_slots(*asked, known) == nearest


def test_a_message_is_found_in_its_whole_blob_or_in_its_piece_and_never_in_a_conflicting_one() -> None:
    whole, second, part = recorded(), recorded("b2", 1), recorded("b3", 0, 1)
    conflict = recorded("b4", state="parked", reason="id-conflict")
    book = book_of([whole, second, part, recorded("b3", 0, 0), conflict, recorded("a/b")])
    names = ["b1/5", "b2/1", "b2/0", "b3/0", "b4/0", "a/b/2", "b1", "b1/x"]
    units = [unit_of_message(name, book) for name in names]
    assert [unit.key if unit else None for unit in units] == [
        ("b1", -1, -1),
        ("b2", 1, -1),
        None,
        ("b3", 0, 0),
        None,
        ("a/b", -1, -1),
        None,
        None,
    ]


def test_what_postgres_does_not_keep_is_sought_at_its_place_and_at_that_of_the_misplaced_original() -> None:
    rows = [
        recorded("plain"),
        recorded("forwarded", origin=position(5)),
        recorded("ingested", origin=position(5, "tickets")),
        recorded("kept"),
        recorded("erased", state="erased"),
        recorded("unseen", position=None, content_hash=None, state="erased"),
    ]
    names = [f"{row.blob_id}/0" for row in rows] + ["unknown/0"]
    kept = {"kept": [KeptPiece("kept", -1, -1, content("hello"), SAID)]}
    sought = sought_blobs(names, book_of(rows), kept)
    assert {blob_id: [at.offset for at in blob.positions] for blob_id, blob in sought.items()} == {
        "plain": [12],
        "forwarded": [12, 5],
        "ingested": [12],
    }


def test_a_text_comes_from_postgres_in_parts_or_whole_else_from_the_topic() -> None:
    pieces = [KeptPiece("b1", 0, 0, content("I moved "), SAID), KeptPiece("b1", 0, 1, content("to Oslo"), SAID)]
    whole = KeptPiece("b1", -1, -1, content("I moved to Oslo", "and back"), SAID)
    on_topic = {"b1": found("from the topic", "too")}
    for kept, expected in (
        (pieces, [("I moved to Oslo", "postgres"), ("too", "topic")]),
        ([whole, *pieces], [("I moved to Oslo", "postgres"), ("and back", "postgres")]),
        ([], [("from the topic", "topic"), ("too", "topic")]),
    ):
        links = link_messages(["b1/0", "b1/1"], (), evidence(kept={"b1": kept}, blobs=on_topic))
        assert [(link.message.content if link.message else None, link.source) for link in links] == expected


def test_why_a_text_is_missing_is_told_apart() -> None:
    image = {"blob_type": "image", "blob_data": {"url": "http://example.com/cat.png"}}
    picture = found()
    assert picture.unit is not None
    rows = [recorded(blob_id) for blob_id in ("gone", "image")] + [recorded("erased", state="erased")]
    blobs = {
        "gone": FoundBlob(None, "removed"),
        "image": FoundBlob(picture.unit.model_copy(update={"content": image, "blob_id": "image"})),
    }
    names = ["gone/0", "image/0", "erased/0", "unknown/0"]
    links = link_messages(names, (), evidence(*rows, blobs=blobs))
    assert [link.missing for link in links] == ["removed", "no-text", "erased", "unknown"]
    unread = link_messages(names, (), evidence(*rows, asked=False))
    assert [link.missing for link in unread] == ["not-asked", "not-asked", "erased", "unknown"]


def test_a_chain_shows_value_changes_and_messages_with_the_quoted_words_marked() -> None:
    quoted = change(2, "Oslo", "Bergen", quotes=(Quote(MessageId("b1/0"), "to Oslo"), Quote(MessageId("b9/0"), "no")))
    of = evidence(recorded(origin=position(5, "tickets")), blobs={"b1": found("I moved to\nOslo.")})
    text = slot_view(chain(quoted, change(1, "Bergen", extractor=None, window_ids=()), of=of, older=3)).plain
    assert text.splitlines() == [
        "ann  contact_info/city: Oslo",
        "",
        "~ Bergen → Oslo",
        "    said 2026-02-01 18:00, recorded 2026-11-20 12:00, revision 2, update",
        "    by openai 3, model gpt, prompts 0123456789ab",
        f"    window {WINDOW}",
        "    b1/0  chat-messages partition 3 offset 12, from tickets partition 3 offset 5",
        "      2026-02-01 18:00 user: I moved »to Oslo«.",
        "",
        "+ Bergen",
        "    said 2026-02-01 18:00, recorded 2026-11-20 12:00, revision 1, update",
        "    by hand",
        "    b1/0  chat-messages partition 3 offset 12, from tickets partition 3 offset 5",
        "      2026-02-01 18:00 user: I moved to Oslo.",
        "",
        "and 3 older changes; --limit shows more",
    ]


def test_what_was_imported_was_made_by_nobody_here() -> None:
    imported = replace(change(1, "Oslo", extractor=None, window_ids=()), why="imported", message_ids=())
    lines = slot_view(chain(imported, of=evidence())).plain.splitlines()
    assert lines[-2:] == ["    said 2026-02-01 18:00, recorded 2026-11-20 12:00, revision 1, imported", "    imported"]
    event = EventRow(UUID(int=2), "a move", (), (), (), 1, (), (), None, SAID, NOW)
    assert "    imported\n" in event_view(link_event("default", "ann", event, evidence())).plain


@pytest.mark.parametrize(
    ("blob", "sentence"),
    [
        (FoundBlob(None, "removed"), "no longer on chat-messages"),
        (FoundBlob(None, "replaced"), "chat-messages was made anew"),
        (FoundBlob(None, "no-topic"), "there is no topic chat-messages"),
        (FoundBlob(None, "unanswered"), "Kafka did not answer"),
    ],
)
def test_a_text_that_is_not_to_be_had_leaves_the_quoted_words_and_says_why(blob: FoundBlob, sentence: str) -> None:
    quoted = change(1, "Oslo", quotes=(Quote(MessageId("b1/0"), "to Oslo"),))
    text = slot_view(chain(quoted, of=evidence(blobs={"b1": blob}))).plain
    assert "»to Oslo«" in text
    assert sentence in text


def test_a_slot_that_is_gone_says_so_and_which_one_has_its_content() -> None:
    deleted = change(2, None, "Oslo")
    again = change(1, "Oslo", "Oslo", sub_topic="town", joined=("spot",))
    assert "city: not there any more\n" in slot_view(chain(deleted, of=evidence(), current=None)).plain
    text = slot_view(chain(deleted, again, of=evidence(), current=None, joined_into="place")).plain
    assert "joined into contact_info/place" in text
    assert "- Oslo → nothing" in text
    assert "= contact_info/town: said again: Oslo" in text
    assert "joined from spot" in text


def test_json_has_all_of_a_long_text_and_every_key_whatever_is_missing() -> None:
    long = "word " * 500
    quoted = change(1, "Oslo", quotes=(Quote(MessageId("b1/0"), "word"),))
    document = slot_document(chain(quoted, of=evidence(blobs={"b1": found(long)})))
    (message,) = document["changes"][0]["messages"]
    assert (message["text"], message["text_source"], message["text_missing"]) == (long, "topic", None)
    assert (message["quotes"], message["position"]["offset"], message["origin"]) == (("word",), 12, None)
    unknown = change(1, "Oslo", message_ids=("x/0",))
    (lacking,) = slot_document(chain(unknown, of=evidence(), current=None))["changes"][0]["messages"]
    assert lacking.keys() == message.keys()
    assert {name for name, value in lacking.items() if value} == {"id", "text_missing"}


def test_an_event_names_the_messages_of_each_line_and_the_rest() -> None:
    gist = GistRow(UUID(int=3), "moved to Oslo", ("b1/0",), SAID, (Quote(MessageId("b1/0"), "to Oslo"),))
    event = EventRow(UUID(int=2), "a move", (), (), (gist,), 4, ("b1/0", "b1/1"), (WINDOW,), EXTRACTOR, SAID, NOW)
    linked = link_event("default", "ann", event, evidence(blobs={"b1": found("I moved to Oslo", "with a cat")}))
    text = event_view(linked).plain
    assert text.index("- moved to Oslo") < text.index("I moved »to Oslo«") < text.index("with a cat")
    assert "by openai 3" in text
    document = event_document(linked)
    assert [line["messages"][0]["quotes"] for line in document["gists"]] == [("to Oslo",)]
    assert [message["text"] for message in document["other_messages"]] == ["with a cat"]
    bare = event_view(link_event("default", "ann", replace(event, gists=(), summary=None), evidence())).plain
    assert "other messages" not in bare


def test_a_long_message_is_cut_around_the_quoted_words_and_controls_do_not_reach_the_terminal() -> None:
    text = f"{'before ' * 200}I live in\x1b[31m Oslo now{' after' * 200}"
    shown = marked(text, ["live in\x1b[31m Oslo", "I live in", "not there"]).plain
    assert shown.startswith("…")
    assert shown.endswith("…")
    assert "»I live in [31m Oslo« now" in shown
    assert len(shown) < 420
    assert marked("short", []).plain == "short"
