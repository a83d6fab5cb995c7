"""Memobase's rows as memory of ours: ids and times stay, nothing that was said is lost."""

from collections.abc import Mapping
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import uuid4

import pytest

from api.events import event_tip
from cli.memobase_memory import Notes, memory_of
from schemas.export import ExportedEvent, InvalidExport, UserExport
from schemas.records import BlobBase, parse_record
from storage.browsing import EventRow, GistRow
from storage.memobase_source import SourceRow, SourceUser

MADE = datetime(2025, 3, 1, 9, 0, tzinfo=UTC)
LATER = MADE + timedelta(days=2)
NOW = datetime(2026, 11, 20, 12, 0, tzinfo=UTC)
USER = SourceUser(
    project_id="__root__",
    user_id="8b8a4dd6-8f0e-4c39-9f6c-0d3f3a2b1c11",
    fields={"plan": "pro"},
    created_at=MADE,
    updated_at=LATER,
    profiles=(),
    events=(),
    gists=(),
    blobs=(),
    statuses=(),
    buffered={},
)


def row(made: datetime = MADE, updated: datetime | None = None, **values: Any) -> SourceRow:
    return SourceRow(uuid4(), made, updated or made, values)


def fact(content: str, topic: Any = "work", sub_topic: Any = "company", **more: Any) -> SourceRow:
    attributes = {"topic": topic, "sub_topic": sub_topic, **more.pop("attributes", {})}
    return row(content=content, attributes=attributes, **more)


def taken(**changes: Any) -> tuple[UserExport, Notes]:
    return memory_of(replace(USER, **changes), "default", NOW)


def event_of(data: Mapping[str, Any], *lines: str, updated: datetime | None = None) -> ExportedEvent:
    event = row(event_data=data, updated=updated)
    gists = [row(event_id=event.id, gist_data={"content": line}) for line in lines]
    memory, _ = taken(events=[event], gists=gists)
    (found,) = memory.events
    assert found.id == event.id
    known = {one.id for one in gists}
    assert sum(gist.id in known for gist in found.gists) == len(set(lines))
    return found


def tip_of(event: ExportedEvent) -> str | None:
    """As the gateway answers it, to whoever used Memobase's SDK before."""
    gists = tuple(GistRow(gist.id, gist.text, (), gist.occurred_at) for gist in event.gists)
    return event_tip(EventRow(event.id, event.summary, [], [], gists, 1, (), (), None, MADE, MADE))


def test_an_entry_keeps_id_and_times_and_has_one_change_in_its_history() -> None:
    held = fact("Acme", updated=LATER, attributes={"update_hits": 3})
    memory, notes = taken(profiles=[held])
    (entry,), (change,) = memory.profile, memory.history
    assert (entry.id, entry.content, entry.update_hits) == (held.id, "Acme", 3)
    assert (entry.created_at, entry.occurred_at, entry.recorded_at, entry.updated_at) == (MADE, LATER, LATER, LATER)
    assert (change.profile_id, change.op, change.before, change.after) == (held.id, "c", None, "Acme")
    assert (change.why, change.extractor, change.recorded_at) == ("imported", None, LATER)
    assert (memory.user_id, memory.fields, memory.created_at) == (USER.user_id, {"plan": "pro"}, MADE)
    assert notes == Notes()


def test_slots_are_named_as_extraction_names_them() -> None:
    memory, _ = taken(profiles=[fact("Acme", " Work", "Current Company")])
    assert [(entry.topic, entry.sub_topic) for entry in memory.profile] == [("work", "current_company")]


def test_several_rows_of_a_slot_become_one_entry_that_says_all_of_it_once() -> None:
    rows = [fact("Bolt", updated=LATER), fact("Acme"), fact("Acme", "Work", updated=MADE + timedelta(days=1))]
    memory, notes = taken(profiles=rows)
    (entry,) = memory.profile
    assert (entry.id, entry.content) == (rows[1].id, "Acme; Bolt")
    assert [(change.op, change.before, change.after) for change in memory.history] == [
        ("c", None, "Acme"),
        ("u", "Acme", "Acme; Bolt"),
    ]
    assert {change.profile_id for change in memory.history} == {entry.id}
    assert [change.recorded_at for change in memory.history] == [MADE, LATER]
    assert notes.joined == 2


@pytest.mark.parametrize(
    ("held", "reason"),
    [
        (row(content="Acme", attributes=None), "profile-without-slot"),
        (fact("Acme", None), "profile-without-slot"),
        (fact("Acme", "work", "x" * 101), "profile-without-slot"),
        (fact("  "), "blank-profile"),
    ],
)
def test_what_has_no_slot_or_says_nothing_is_left_out_and_counted(held: SourceRow, reason: str) -> None:
    memory, notes = taken(profiles=[held, fact("Acme")])
    assert len(memory.profile) == len(memory.history) == 1
    assert notes.skipped == {reason: 1}


def test_the_changes_of_all_slots_come_as_they_happened() -> None:
    memory, _ = taken(profiles=[fact("Acme", updated=LATER), fact("Ann", "basic_info", "name")])
    assert [change.after for change in memory.history] == ["Ann", "Acme"]


def test_an_event_keeps_its_lines_with_their_ids_in_the_order_of_its_text() -> None:
    tip = "- moved to Oslo. [mention 2025/03/01] // event\n- has a dog. [mention 2025/03/01] // info"
    data = {
        "event_tip": tip,
        "event_tags": [{"tag": "mood", "value": "glad"}],
        "profile_delta": [{"content": "Oslo", "attributes": {"topic": "contact", "sub_topic": "city", "hits": 1}}],
    }
    event = event_of(data, *reversed(tip.splitlines()))
    assert event.summary is None
    assert [gist.text for gist in event.gists] == [line.removeprefix("- ") for line in tip.splitlines()]
    assert tip_of(event) == tip
    assert [(tag.tag, tag.value) for tag in event.tags] == [("mood", "glad")]
    slot = {"topic": "contact", "sub_topic": "city"}
    assert event.profile_delta == ({"content": "Oslo", "attributes": slot, "message_ids": []},)
    assert (event.occurred_at, event.recorded_at, event.updated_at) == (MADE, MADE, None)
    assert {(gist.occurred_at, gist.recorded_at) for gist in event.gists} == {(MADE, MADE)}


@pytest.mark.parametrize(
    ("tip", "lines", "summary", "texts"),
    [
        ("- one\n- two", ["- one"], None, ["one", "two"]),
        ("- one", ["- one", "- other"], None, ["one", "other"]),
        ("- one\n- two", [], None, ["one", "two"]),
        ("A meeting.\n- one", ["- one"], "A meeting.", ["one"]),
        ("A meeting.", ["- one"], "A meeting.", ["one"]),
        ("A meeting.", [], "A meeting.", ["A meeting."]),
        (None, ["- one"], None, ["one"]),
        (None, [], None, []),
    ],
)
def test_no_line_of_an_event_is_lost_and_none_is_there_twice(
    tip: str | None, lines: list[str], summary: str | None, texts: list[str]
) -> None:
    event = event_of({"event_tip": tip, "event_tags": None, "profile_delta": None}, *lines)
    assert (event.summary, [gist.text for gist in event.gists]) == (summary, texts)


def test_an_event_that_was_edited_says_when() -> None:
    assert event_of({"event_tip": "- one"}, "- one", updated=LATER).updated_at == LATER


def test_tags_and_facts_of_another_shape_are_left_out_and_counted() -> None:
    data = {"event_tags": [{"tag": "mood"}, "glad"], "profile_delta": [{"content": "Acme", "attributes": None}]}
    memory, notes = taken(events=[row(event_data=data)])
    (event,) = memory.events
    assert (event.tags, event.profile_delta) == ((), ())
    assert notes.skipped == {"event-tag-of-another-shape": 2, "event-fact-of-another-shape": 1}


CHAT = {"messages": [{"role": "user", "content": "I moved to Oslo", "alias": None, "created_at": None}]}


def blob(blob_type: str = "chat", data: Any = CHAT) -> SourceRow:
    return row(blob_type=blob_type, blob_data=data, additional_fields={"from": "app"})


def sent_blob(record: Mapping[str, Any]) -> BlobBase:
    """As the buffer agent reads what is sent."""
    blob = parse_record(dict(record))
    assert isinstance(blob, BlobBase)
    return blob


def test_a_blob_that_is_in_memory_is_applied_and_its_text_kept() -> None:
    done = blob()
    memory, notes = taken(blobs=[done], buffered={done.id: frozenset({"done"})})
    (unit,), (kept,) = memory.units, memory.blobs
    assert (unit.blob_id, unit.state, unit.position, unit.recorded_at) == (str(done.id), "applied", None, MADE)
    assert kept.content["blob_data"] == {"messages": [{"role": "user", "content": "I moved to Oslo"}]}
    assert (kept.content["fields"], kept.occurred_at) == ({"from": "app"}, MADE)
    assert notes.unprocessed == []


@pytest.mark.parametrize("states", [["idle"], ["processing"], ["failed"], []])
def test_a_blob_that_is_in_no_memory_yet_is_to_be_sent_with_its_id_and_its_time(states: list[str]) -> None:
    waiting = blob()
    memory, notes = taken(blobs=[waiting], buffered={waiting.id: frozenset(states)} if states else {})
    assert (memory.units, memory.blobs) == ((), ())
    (record,) = notes.unprocessed
    sent = sent_blob(record)
    assert (sent.id, sent.user_id, sent.created_at) == (str(waiting.id), USER.user_id, MADE)


def test_a_blob_sent_again_is_known_by_its_hash() -> None:
    done = blob()
    memory, _ = taken(blobs=[done], buffered={done.id: frozenset({"done"})})
    _, notes = taken(blobs=[done])
    assert sent_blob(notes.unprocessed[0]).content_hash() == memory.units[0].content_hash


def test_a_blob_of_another_shape_is_left_out_and_counted() -> None:
    memory, notes = taken(blobs=[blob(data={"messages": []}), blob("video"), blob(data=None)])
    assert memory.units == ()
    assert notes.skipped == {"blob-of-another-shape": 3}
    assert notes.unprocessed == []


def test_statuses_of_role_play_come_along() -> None:
    memory, _ = taken(statuses=[row(type="roleplay_plot_status", attributes={"new_topic": {"overview": "a trip"}})])
    assert [(status.kind, status.recorded_at) for status in memory.statuses] == [("roleplay_plot_status", MADE)]


@pytest.mark.parametrize(
    ("project_id", "detail"), [("a/b", "project_id: must not hold a slash"), ("x" * 256, "255 bytes")]
)
def test_a_user_who_cannot_be_one_of_ours_is_refused_with_the_field(project_id: str, detail: str) -> None:
    with pytest.raises(InvalidExport) as caught:
        memory_of(USER, project_id, NOW)
    assert caught.value.reason == "invalid-export"
    assert detail in caught.value.detail


def test_the_same_rows_make_the_same_memory_whenever_they_are_read() -> None:
    event = row(event_data={"event_tip": "- one\n- two"})
    user = replace(USER, profiles=[fact("Acme")], events=[event])
    first, _ = memory_of(user, "default", NOW)
    second, _ = memory_of(user, "default", NOW + timedelta(days=1))
    assert first.digest() == second.digest()
    assert {gist.id.version for gist in second.events[0].gists} == {5}
