"""A profile played back from its history."""

from datetime import UTC, datetime, timedelta
from uuid import UUID, uuid4

from storage.profile_as_of import Change, play_back

CITY, NAME = uuid4(), uuid4()
BEGIN = datetime(2026, 3, 1, tzinfo=UTC)


def change(
    profile_id: UUID, op: str, before: str | None, after: str | None, day: int, slot: str = "contact_info/city"
) -> Change:
    topic, _, sub_topic = slot.partition("/")
    return Change(profile_id, topic, sub_topic, op, before, after, BEGIN + timedelta(days=day))


def test_nothing_was_known_before_the_first_change() -> None:
    assert play_back([]) == []


def test_an_entry_is_as_its_last_change_left_it() -> None:
    (found,) = play_back([change(CITY, "c", None, "Rome", 0), change(CITY, "u", "Rome", "Oslo", 2)])
    assert (found.profile_id, found.topic, found.sub_topic, found.content) == (CITY, "contact_info", "city", "Oslo")
    assert (found.created_at, found.updated_at) == (BEGIN, BEGIN + timedelta(days=2))
    assert found.update_hits == 1


def test_what_was_only_said_again_is_no_update() -> None:
    (found,) = play_back([change(CITY, "c", None, "Rome", 0), change(CITY, "u", "Rome", "Rome", 2)])
    assert (found.update_hits, found.updated_at) == (0, BEGIN)


def test_a_deleted_entry_is_gone_and_may_come_back() -> None:
    gone = [
        change(CITY, "c", None, "Rome", 0),
        change(NAME, "c", None, "Rosa", 0, "basic_info/name"),
        change(CITY, "d", "Rome", None, 1),
    ]
    assert [found.content for found in play_back(gone)] == ["Rosa"]
    back = [*gone, change(CITY, "c", None, "Bergen", 3)]
    assert {found.content: found.created_at for found in play_back(back)} == {
        "Rosa": BEGIN,
        "Bergen": BEGIN + timedelta(days=3),
    }


def test_an_entry_that_was_moved_by_hand_stays_the_same_entry() -> None:
    moved = [
        change(CITY, "c", None, "Rome", 0),
        change(CITY, "u", "Rome", "Oslo", 1),
        change(CITY, "d", "Oslo", None, 2),
        change(CITY, "c", None, "Oslo", 2, "life_event/relocation"),
    ]
    (found,) = play_back(moved)
    assert (found.profile_id, found.topic, found.sub_topic) == (CITY, "life_event", "relocation")
    assert (found.created_at, found.updated_at, found.update_hits) == (BEGIN, BEGIN + timedelta(days=2), 1)
    (found,) = play_back([*moved[:3], change(CITY, "c", None, "Bergen", 2, "life_event/relocation")])
    assert (found.content, found.created_at, found.update_hits) == ("Bergen", BEGIN, 2)
