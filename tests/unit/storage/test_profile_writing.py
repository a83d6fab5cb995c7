"""What changes do to the rows of a profile, decided without a database."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from uuid import UUID, uuid4

import pytest

from schemas.memory import SlotChange
from schemas.windows import MessageId
from storage.profile_writing import MAX_MESSAGE_IDS, ProfileRow, decide_changes

NOW = datetime(2026, 11, 20, 12, 0, tzinfo=UTC)
EARLIER = NOW - timedelta(days=1)
WINDOW = uuid4()


def row(sub_topic: str, content: str, *message_ids: str) -> ProfileRow:
    return ProfileRow(uuid4(), "work", sub_topic, content, 0, message_ids, (), EARLIER, EARLIER, EARLIER, EARLIER)


def change(sub_topic: str, after: str | None, message_id: str = "b1/0") -> SlotChange:
    return SlotChange("u", "work", sub_topic, None, after, "test", (MessageId(message_id),), NOW)


def test_an_update_keeps_id_and_creation_and_counts_the_hit() -> None:
    before = row("company", "Acme", "b0/0")
    (decided,), (after,) = decide_changes([before], [change("company", "Bolt")], [WINDOW], NOW, uuid4)
    assert (decided.op, decided.before, decided.after) == ("u", before, after)
    assert (after.profile_id, after.created_at) == (before.profile_id, EARLIER)
    assert (after.content, after.update_hits, after.message_ids) == ("Bolt", 1, ("b0/0", "b1/0"))
    assert (after.recorded_at, after.occurred_at, after.window_ids) == (NOW, NOW, (WINDOW,))


def test_a_new_slot_is_created_whatever_the_change_was_called() -> None:
    new_id = UUID(int=5)
    (decided,), (after,) = decide_changes([], [change("company", "Acme")], [], NOW, lambda: new_id)
    assert (decided.op, decided.before, after.profile_id) == ("c", None, new_id)


def test_a_deleted_slot_is_gone_and_an_absent_one_is_no_change() -> None:
    decided, after = decide_changes(
        [row("company", "Acme")], [change("company", None), change("role", None)], [], NOW, uuid4
    )
    assert [item.op for item in decided] == ["d"]
    assert after == []


def test_equal_content_is_no_change() -> None:
    before = row("company", "Acme")
    assert decide_changes([before], [change("company", "Acme")], [], NOW, uuid4) == ([], [before])


def test_what_is_said_again_later_moves_its_time_and_nothing_else_of_its_value() -> None:
    before = row("company", "Acme", "b0/0")
    again = replace(change("company", "Acme"), before="Acme")
    (decided,), (after,) = decide_changes([before], [again], [WINDOW], NOW, uuid4)
    assert (decided.op, decided.is_published) == ("u", False)
    assert after == replace(before, occurred_at=NOW, message_ids=("b0/0", "b1/0"), window_ids=(WINDOW,))


def test_what_is_said_again_with_an_earlier_time_is_no_change() -> None:
    before = replace(row("company", "Acme"), occurred_at=NOW + timedelta(seconds=1))
    again = replace(change("company", "Acme"), before="Acme")
    assert decide_changes([before], [again], [WINDOW], NOW, uuid4) == ([], [before])


@pytest.mark.parametrize("name", ["skills", "tools"])
def test_a_slot_that_others_are_joined_into_takes_their_windows_over(name: str) -> None:
    earlier = uuid4()
    tools = replace(row("tools", "Rust"), window_ids=(earlier,))
    languages = row("languages", "Python")
    into = replace(change(name, "Python, Rust"), joined=("tools", "languages"))
    gone = [change(sub_topic, None) for sub_topic in ("tools", "languages") if sub_topic != name]
    _, (after,) = decide_changes([tools, languages], [into, *gone], [WINDOW], NOW, uuid4)
    assert (after.sub_topic, after.content, after.window_ids) == (name, "Python, Rust", (earlier, WINDOW))


def test_a_slot_that_says_already_what_is_joined_into_it_takes_its_sources_over() -> None:
    earlier = uuid4()
    tools = replace(row("tools", "Rust"), window_ids=(earlier,))
    into = replace(change("languages", "Python, Rust", "b0/3"), before="Python, Rust", joined=("tools",))
    into = replace(into, occurred_at=EARLIER)
    rows = [tools, row("languages", "Python, Rust")]
    decided, (after,) = decide_changes(rows, [into, change("tools", None)], [WINDOW], NOW, uuid4)
    assert [item.is_published for item in decided] == [False, True]
    assert (after.message_ids, after.window_ids, after.occurred_at) == (("b0/3",), (earlier, WINDOW), EARLIER)


def test_the_latest_message_ids_are_kept_each_once() -> None:
    before = row("company", "Acme", *(f"b0/{index}" for index in range(MAX_MESSAGE_IDS)))
    _, (after,) = decide_changes([before], [change("company", "Bolt", "b0/7")], [], NOW, uuid4)
    assert after.message_ids == before.message_ids
    _, (after,) = decide_changes([before], [change("company", "Bolt")], [], NOW, uuid4)
    assert after.message_ids == (*before.message_ids[1:], "b1/0")
