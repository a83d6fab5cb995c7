"""What a promotion would change of a user's profile, decided slot by slot."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from uuid import UUID, uuid4

import pytest

from cli.shadow_diff_rules import DiffCounts, SlotDiff, compare_slots, diff_of, sampled
from cli.shadow_diff_view import user_document
from storage.profile_writing import ProfileRow
from storage.shadow_comparing import BothSides, SlotEdit

SAID = datetime(2026, 11, 20, 12, 0, tzinfo=UTC)
EARLIER, LATER = SAID - timedelta(days=1), SAID + timedelta(days=1)


def row(sub_topic: str, content: str, said: datetime = SAID) -> ProfileRow:
    return ProfileRow(
        profile_id=uuid4(),
        topic="work",
        sub_topic=sub_topic,
        content=content,
        update_hits=0,
        message_ids=(),
        window_ids=(),
        occurred_at=said,
        recorded_at=said,
        created_at=said,
        updated_at=said,
    )


def edit(sub_topic: str, after: str | None, at: datetime = SAID) -> SlotEdit:
    return SlotEdit("work", sub_topic, after, at)


def kinds(live: list[ProfileRow], shadow: list[ProfileRow], edits: list[SlotEdit] | None = None) -> dict[str, str]:
    return {slot.sub_topic: slot.kind for slot in compare_slots(live, shadow, edits or [])}


def test_each_slot_is_added_removed_changed_or_the_same() -> None:
    live = [row("company", "Acme"), row("title", "nurse"), row("city", "Oslo")]
    shadow = [row("city", "Oslo"), row("title", "head nurse"), row("start", "2020")]
    assert kinds(live, shadow) == {"city": "same", "company": "removed", "start": "added", "title": "changed"}


def test_a_slot_of_the_same_name_in_another_topic_is_another_slot() -> None:
    live, shadow = row("city", "Oslo"), replace(row("city", "Oslo"), topic="contact_info")
    assert [(slot.topic, slot.kind) for slot in compare_slots([live], [shadow], [])] == [
        ("contact_info", "added"),
        ("work", "removed"),
    ]


def test_the_entry_of_a_slot_may_be_another_one_and_say_the_same() -> None:
    live = row("city", "Oslo", EARLIER)
    assert kinds([live], [replace(live, profile_id=UUID(int=1), occurred_at=LATER)]) == {"city": "same"}


@pytest.mark.parametrize(("said", "kind"), [(EARLIER, "kept"), (SAID, "kept"), (LATER, "changed")])
def test_what_was_edited_by_hand_stays_unless_the_shadow_holds_what_was_said_later(said: datetime, kind: str) -> None:
    assert kinds([row("city", "Bergen")], [row("city", "Oslo", said)], [edit("city", "Bergen")]) == {"city": kind}


@pytest.mark.parametrize(("said", "kind"), [(EARLIER, "kept"), (LATER, "added")])
def test_what_was_taken_out_by_hand_stays_out_likewise(said: datetime, kind: str) -> None:
    assert kinds([], [row("city", "Oslo", said)], [edit("city", None)]) == {"city": kind}


def test_an_edit_of_a_slot_that_the_shadow_has_not_stays() -> None:
    assert kinds([row("city", "Bergen")], [], [edit("city", "Bergen")]) == {"city": "kept"}


def test_an_edit_that_the_shadow_agrees_with_is_no_difference() -> None:
    assert kinds([row("city", "Bergen")], [row("city", "Bergen", EARLIER)], [edit("city", "Bergen")]) == {
        "city": "same"
    }


def test_an_edit_of_a_slot_that_is_empty_on_both_sides_is_no_slot() -> None:
    assert kinds([], [], [edit("city", None)]) == {}


def test_a_user_is_counted_and_users_add_up() -> None:
    sides = BothSides(
        live=[row("company", "Acme"), row("city", "Oslo"), row("title", "nurse")],
        shadow=[row("city", "Bergen"), row("start", "2020")],
        edits=[edit("title", "nurse")],
        live_events=3,
        shadow_events=2,
        parked=[("b7", "rejected")],
    )
    counts = diff_of("default", "ann", sides).counts
    assert counts == DiffCounts(
        users=1, added=1, removed=1, changed=1, kept=1, live_events=3, shadow_events=2, parked=1
    )
    assert counts.differences == 3
    assert DiffCounts() + counts + counts == DiffCounts(2, 2, 2, 2, 0, 2, 6, 4, 2)


def test_samples_show_every_kind_of_difference_before_the_second_of_one() -> None:
    live = [row(f"old-{number}", "x") for number in range(3)] + [row("title", "nurse"), row("same", "x")]
    shadow = [row(f"new-{number}", "y") for number in range(3)] + [row("title", "doctor"), row("same", "x")]
    user = diff_of("default", "ann", BothSides(live, shadow, [], 0, 0, []))
    assert [slot.sub_topic for slot in sampled(user, 4)] == ["title", "new-0", "old-0", "new-1"]
    assert [slot.sub_topic for slot in sampled(user, 100)][-1] == "old-2"
    assert sampled(user, 0) == []


def test_a_script_gets_both_texts_and_no_more_samples_than_it_asked_for() -> None:
    sides = BothSides(
        [row("city", "Oslo")], [row("city", "Bergen")], [], 1, 2, [("b1", "rejected"), ("b2", "too-long")]
    )
    document = user_document(diff_of("default", "ann", sides), 1)
    assert (document["user_id"], document["changed"], document["live_events"], document["shadow_events"]) == (
        "ann",
        1,
        1,
        2,
    )
    assert document["samples"] == [
        {"kind": "changed", "topic": "work", "sub_topic": "city", "live": "Oslo", "shadow": "Bergen"}
    ]
    assert (document["parked"], document["parked_blobs"]) == (2, [{"blob_id": "b1", "reason": "rejected"}])
    assert SlotDiff("changed", "work", "city", "Oslo", "Bergen") in diff_of("default", "ann", sides).slots
