"""What edits by hand make of entries and events, decided without a database."""

from datetime import UTC, datetime, timedelta
from uuid import UUID, uuid4

import pytest

from storage.browsing import EventRow, GistRow
from storage.editing import Taken
from storage.editing_events import EventEdit, EventText, edited
from storage.editing_profiles import added, changed, removed
from storage.profile_writing import ProfileRow

NOW = datetime(2026, 11, 20, 12, 0, tzinfo=UTC)
EARLIER = NOW - timedelta(days=1)
WINDOW = uuid4()


def row(sub_topic: str, content: str, topic: str = "work") -> ProfileRow:
    return ProfileRow(uuid4(), topic, sub_topic, content, 0, ("b/0",), (WINDOW,), EARLIER, EARLIER, EARLIER, EARLIER)


def both(held: str, said: str) -> str:
    return f"{held}; {said}"


def the_new_one(held: str, said: str) -> str:
    return said


def test_what_is_added_to_a_free_slot_rests_on_no_message_and_was_said_now() -> None:
    edit = added([row("role", "cook")], ("work", "company"), "Acme", both, NOW, lambda: UUID(int=7))
    assert edit.before is None
    assert edit.after == ProfileRow(UUID(int=7), "work", "company", "Acme", 0, (), (), NOW, NOW, NOW, NOW)
    ((op, why),) = [(item.op, item.change.why) for item in edit.history]
    assert (op, why) == ("c", "added")


def test_what_is_added_to_an_occupied_slot_keeps_its_entry_and_the_messages_of_what_stays() -> None:
    held = row("company", "Acme")
    edit = added([held], ("work", "company"), "Bolt", both, NOW, uuid4)
    assert edit.after is not None
    assert (edit.after.profile_id, edit.after.content, edit.after.created_at) == (
        held.profile_id,
        "Acme; Bolt",
        EARLIER,
    )
    assert (edit.after.message_ids, edit.after.window_ids) == (("b/0",), (WINDOW,))
    assert [(item.op, item.change.why) for item in edit.history] == [("u", "added")]


def test_what_takes_a_slot_over_rests_on_none_of_its_messages() -> None:
    edit = added([row("company", "Acme")], ("work", "company"), "Bolt", the_new_one, NOW, uuid4)
    assert edit.after is not None
    assert (edit.after.content, edit.after.message_ids, edit.after.window_ids) == ("Bolt", (), ())


def test_what_a_slot_says_already_changes_nothing() -> None:
    held = row("company", "Acme")
    edit = added([held], ("work", "company"), "Acme", lambda held, said: held, NOW, uuid4)
    assert (edit.after, edit.history) == (held, ())


def test_an_entry_with_other_content_is_the_same_entry() -> None:
    before = row("company", "Acme")
    edit = changed([before], before.profile_id, "Bolt", None, NOW)
    assert edit is not None
    assert edit.after is not None
    assert (edit.after.profile_id, edit.after.topic, edit.after.sub_topic) == (before.profile_id, "work", "company")
    assert (edit.after.content, edit.after.update_hits, edit.after.message_ids) == ("Bolt", 1, ())
    assert (edit.after.created_at, edit.after.occurred_at, edit.after.updated_at) == (EARLIER, NOW, NOW)


def test_an_entry_that_moves_ends_one_slot_and_begins_another() -> None:
    before = row("company", "Acme")
    edit = changed([before], before.profile_id, "Acme", ("work", "employer"), NOW)
    assert edit is not None
    assert edit.after is not None
    assert (edit.after.profile_id, edit.after.message_ids) == (before.profile_id, ("b/0",))
    left, entered = edit.history
    assert (left.op, left.row.sub_topic, left.change.why) == ("d", "company", "removed")
    assert (entered.op, entered.row.sub_topic, entered.change.joined) == ("c", "employer", ("company",))


def test_an_entry_moves_into_no_slot_that_another_has() -> None:
    before, other = row("company", "Acme"), row("employer", "Bolt")
    with pytest.raises(Taken):
        changed([before, other], before.profile_id, "Acme", ("work", "employer"), NOW)


def test_an_entry_that_is_not_there_is_neither_changed_nor_removed() -> None:
    assert changed([row("company", "Acme")], uuid4(), "Bolt", None, NOW) is None
    assert removed([row("company", "Acme")], uuid4(), NOW) is None


def event(*lines: str) -> EventRow:
    return EventRow(
        event_id=uuid4(),
        summary="They met",
        tags=[{"tag": "mood", "value": "glad"}],
        profile_delta=[
            {"content": "Acme", "attributes": {"topic": "work", "sub_topic": "company"}, "message_ids": ["b/0"]}
        ],
        gists=tuple(GistRow(uuid4(), line, ("b/0",), EARLIER) for line in lines),
        revision=3,
        message_ids=("b/0",),
        window_ids=(WINDOW,),
        extractor=None,
        occurred_at=EARLIER,
        recorded_at=EARLIER,
    )


def test_lines_that_stay_keep_their_ids_and_messages() -> None:
    before = event("one", "two", "two")
    after = edited(before, EventEdit(EventText("They met", ("two", "three", "two"))), NOW, lambda: UUID(int=1))
    assert [gist.gist_id for gist in after.gists] == [before.gists[1].gist_id, UUID(int=1), before.gists[2].gist_id]
    assert [gist.message_ids for gist in after.gists] == [("b/0",), (), ("b/0",)]
    assert (after.gists[1].occurred_at, after.updated_at) == (EARLIER, NOW)


def test_a_fact_that_stays_keeps_its_messages_though_nobody_names_them() -> None:
    before = event()
    said = [{key: value for key, value in before.profile_delta[0].items() if key != "message_ids"}]
    assert edited(before, EventEdit(profile_delta=said), NOW, uuid4) is before


def test_what_is_not_named_stays_and_the_same_again_is_no_edit() -> None:
    before = event("one")
    assert edited(before, EventEdit(), NOW, uuid4) is before
    assert edited(before, EventEdit(EventText("They met", ("one",)), before.tags), NOW, uuid4) is before
    after = edited(before, EventEdit(tags=[]), NOW, uuid4)
    assert (after.tags, after.summary, after.gists) == ([], before.summary, before.gists)
