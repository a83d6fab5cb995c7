"""What rests on deleted blobs alone goes; what others or somebody's hand had a part in stays."""

from collections.abc import Sequence
from dataclasses import replace
from datetime import UTC, datetime
from uuid import UUID

from schemas.memory import Quote
from schemas.windows import MessageId
from storage.blob_redaction import redact_event, redact_slot
from storage.browsing import EventRow, GistRow, HistoryRow

NOW = datetime(2026, 11, 20, 12, 0, tzinfo=UTC)
ENTRY = UUID(int=1)


def row(number: int, before: str | None, after: str | None, *blob_ids: str, op: str | None = None) -> HistoryRow:
    """A change that was taken from one message of each blob; by hand where none is named."""
    return HistoryRow(
        history_id=number,
        profile_id=ENTRY,
        topic="work",
        sub_topic="company",
        op=op or ("c" if before is None else "d" if after is None else "u"),
        before=before,
        after=after,
        why="test",
        revision=number,
        message_ids=tuple(f"{blob_id}/0" for blob_id in blob_ids),
        window_ids=(),
        extractor={"name": "offline"} if blob_ids else None,
        occurred_at=NOW,
        recorded_at=NOW,
        quotes=tuple(Quote(MessageId(f"{blob_id}/0"), f"words of {blob_id}") for blob_id in blob_ids),
    )


def value_without(erased: set[str], *history: HistoryRow) -> str | None:
    return redact_slot(history, erased).value


def test_an_entry_that_rests_on_the_blob_alone_goes() -> None:
    slot = redact_slot([row(1, None, "Acme", "a"), row(2, "Acme", "Acme Oslo", "a")], {"a"})
    assert (slot.value, slot.is_changed, slot.removed, slot.last) == (None, True, (1, 2), None)


def test_an_entry_goes_back_to_what_it_was_before_the_blob_touched_it() -> None:
    slot = redact_slot([row(1, None, "Acme", "b"), row(2, "Acme", "Initech", "a")], {"a"})
    assert (slot.value, slot.is_changed, slot.removed) == ("Acme", True, (2,))
    assert slot.last is not None
    assert slot.last.message_ids == ("b/0",)


def test_what_another_message_was_merged_into_stays_and_its_history_forgets_what_it_was_before() -> None:
    history = [row(1, None, "Acme", "a"), row(2, "Acme", "Acme; Initech", "b")]
    slot = redact_slot(history, {"a"})
    assert (slot.value, slot.is_changed, slot.removed) == ("Acme; Initech", False, (1,))
    assert [(item.history_id, item.op, item.before) for item in slot.rewritten] == [(2, "c", None)]


def test_a_change_that_rests_on_two_blobs_goes_with_the_second_of_them() -> None:
    history = [row(1, None, "Acme", "a", "b")]
    kept = redact_slot(history, {"a"})
    assert (kept.value, kept.is_changed, kept.removed) == ("Acme", False, ())
    assert [quote.text for item in kept.rewritten for quote in item.quotes] == ["words of b"]
    assert value_without({"a", "b"}, *history) is None


def test_deleting_all_blobs_leaves_nothing_in_whatever_order_they_go() -> None:
    history = [row(1, None, "Acme", "a"), row(2, "Acme", "Acme; Initech", "b"), row(3, "Acme; Initech", "Hooli", "c")]
    assert value_without({"a", "b"}, *history) == "Hooli"
    assert value_without({"b", "c"}, *history) == "Acme"
    assert value_without({"a", "b", "c"}, *history) is None


def test_what_was_written_by_hand_stays() -> None:
    history = [row(1, None, "Acme", "a"), row(2, "Acme", "ACME Inc."), row(3, "ACME Inc.", "Hooli", "a")]
    assert value_without({"a"}, *history) == "ACME Inc."


def moved(number: int, content: str) -> list[HistoryRow]:
    """An entry that somebody took to another slot as it was."""
    left, entered = row(number, content, None), row(number + 1, None, content)
    return [left, replace(entered, revision=left.revision, topic="career")]


def test_an_entry_that_was_only_moved_by_hand_goes_with_the_blob_that_it_rests_on() -> None:
    history = [row(1, None, "Acme", "a"), *moved(2, "Acme")]
    slot = redact_slot(history, {"a"})
    assert (slot.value, slot.is_changed, slot.removed) == (None, True, (1, 3))
    assert [(item.before, item.after) for item in slot.rewritten] == [(None, None)]


def test_an_entry_that_was_moved_goes_back_in_its_new_slot_and_goes_with_the_last_blob() -> None:
    history = [row(1, None, "Acme", "b"), row(2, "Acme", "Initech", "a"), *moved(3, "Initech")]
    slot = redact_slot(history, {"a"})
    assert (slot.value, slot.is_changed, slot.removed, slot.message_ids) == ("Acme", True, (2,), ("b/0",))
    assert [(item.before, item.after) for item in slot.rewritten] == [("Acme", None), (None, "Acme")]
    rewritten = {item.history_id: item for item in slot.rewritten}
    left = [rewritten.get(item.history_id, item) for item in history if item.history_id not in slot.removed]
    assert redact_slot([*left, row(5, None, "Acme", "b", op="u")], {"a", "b"}).value is None


def test_an_entry_that_was_moved_and_rewritten_stays() -> None:
    left, entered = moved(2, "Acme")
    history = [row(1, None, "Acme", "a"), left, replace(entered, after="Initech")]
    assert redact_slot(history, {"a"}).value == "Initech"


def test_an_entry_that_was_deleted_stays_deleted() -> None:
    history = [row(1, None, "Acme", "b"), row(2, "Acme", "Hooli", "a"), row(3, "Hooli", None, "a")]
    slot = redact_slot(history, {"a"})
    assert (slot.value, slot.is_changed) == (None, False)
    assert [(item.history_id, item.before) for item in slot.rewritten] == [(3, "Acme")]


def test_a_blob_whose_id_begins_with_another_ones_is_another_one() -> None:
    assert value_without({"a"}, row(1, None, "Acme", "a/b")) == "Acme"
    assert value_without({"a/b"}, row(1, None, "Acme", "a/b")) is None


def test_history_that_names_no_deleted_blob_is_left_as_it_is() -> None:
    slot = redact_slot([row(1, None, "Acme", "b"), row(2, "Acme", "Hooli")], {"a"})
    assert (slot.removed, slot.rewritten, slot.is_changed) == ((), (), False)


def gist(number: int, *blob_ids: str) -> GistRow:
    messages = tuple(f"{blob_id}/0" for blob_id in blob_ids)
    quotes = tuple(Quote(MessageId(message), "words") for message in messages)
    return GistRow(UUID(int=number), f"gist {number}", messages, NOW, quotes)


def event(gists: Sequence[GistRow], *facts: str, summary: str | None = "all of it") -> EventRow:
    messages = dict.fromkeys(message for line in gists for message in line.message_ids)
    messages |= dict.fromkeys(f"{blob_id}/0" for blob_id in facts)
    return EventRow(
        event_id=UUID(int=9),
        summary=summary,
        tags=[{"tag": "mood", "value": "glad"}],
        profile_delta=[
            {"content": f"fact of {blob_id}", "attributes": {}, "message_ids": [f"{blob_id}/0"]} for blob_id in facts
        ],
        gists=tuple(gists),
        revision=1,
        message_ids=tuple(messages),
        window_ids=(),
        extractor=None,
        occurred_at=NOW,
        recorded_at=NOW,
    )


def test_an_event_of_the_blob_alone_goes() -> None:
    redacted = redact_event(event([gist(1, "a")], "a"), {"a"})
    assert redacted.is_gone
    assert (redacted.event.summary, redacted.event.gists, redacted.event.profile_delta) == (None, (), [])


def test_a_shared_event_loses_the_lines_and_facts_of_the_blob_and_what_is_said_of_all() -> None:
    redacted = redact_event(event([gist(1, "a"), gist(2, "b"), gist(3, "a", "b")], "a", "b"), {"a"})
    assert not redacted.is_gone
    assert [line.text for line in redacted.event.gists] == ["gist 2", "gist 3"]
    assert [[quote.message_id for quote in line.quotes] for line in redacted.event.gists] == [["b/0"], ["b/0"]]
    assert [item["content"] for item in redacted.event.profile_delta] == ["fact of b"]
    assert (redacted.event.summary, redacted.event.tags) == (None, [])
    assert redacted.removed == (UUID(int=1),)


def test_an_event_that_only_summed_up_a_conversation_goes_with_any_blob_of_it() -> None:
    assert redact_event(event([]), {"a"}).is_gone


def test_an_event_keeps_what_somebody_wrote_of_it_and_nothing_else() -> None:
    edited = replace(event([replace(gist(1, "a"), message_ids=(), quotes=())], "a"), updated_at=NOW)
    redacted = redact_event(edited, {"a"}, {"summary"})
    assert not redacted.is_gone
    assert (redacted.event.summary, len(redacted.event.gists)) == ("all of it", 1)
    assert (redacted.event.tags, redacted.event.profile_delta) == ([], [])


def test_an_event_that_was_tagged_by_hand_keeps_its_tags_and_loses_what_the_blob_said() -> None:
    redacted = redact_event(replace(event([gist(1, "a")], "a"), updated_at=NOW), {"a"}, {"tags"})
    assert not redacted.is_gone
    assert (redacted.event.summary, redacted.event.gists) == (None, ())
    assert redacted.event.tags == [{"tag": "mood", "value": "glad"}]


def test_an_event_of_which_an_edit_left_nothing_of_its_own_goes() -> None:
    assert redact_event(replace(event([gist(1, "a")], "a"), updated_at=NOW), {"a"}).is_gone


def test_a_second_look_at_an_event_changes_nothing() -> None:
    once = redact_event(event([gist(1, "a"), gist(2, "b")], "a"), {"a"}).event
    assert not redact_event(once, {"a"}).is_changed
