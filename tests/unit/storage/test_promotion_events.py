"""A shadow's events with those that were edited by hand in their place."""

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID, uuid5

from storage.browsing import EventRow, GistRow
from storage.promotion_events import EventEditRow, decide_events

NOW = datetime(2026, 3, 1, tzinfo=UTC)
SPACE = UUID(int=0)


def uid(name: str) -> UUID:
    return uuid5(SPACE, name)


def event(name: str, messages: Sequence[str], text: str = "moved", **changes: Any) -> EventRow:
    values: dict[str, Any] = {
        "event_id": uid(name),
        "summary": text,
        "tags": [],
        "profile_delta": [],
        "gists": (GistRow(uid(f"{name} gist"), text, tuple(messages), NOW),),
        "revision": 1,
        "message_ids": tuple(messages),
        "window_ids": (uid(f"window of {name}"),),
        "extractor": {"name": name},
        "occurred_at": NOW,
        "recorded_at": NOW + timedelta(days=len(name)),
    }
    return EventRow(**(values | changes))


def edit(name: str, op: Any, before: Sequence[str] | None = ("b1/0",)) -> EventEditRow:
    document = None if before is None else {"message_ids": list(before)}
    return EventEditRow(uid(name), op, document, None if op == "d" else document)


def test_an_event_that_says_the_same_keeps_its_live_id_and_is_not_published() -> None:
    found = decide_events([event("l1", ["b1/0"])], [event("shadow1", ["b1/0"])], [])
    assert found.same == {uid("l1"): uid("shadow1")}
    assert (found.created, found.deleted, found.kept, found.dropped) == ((), (), (), ())


def test_an_event_that_says_something_else_goes_and_the_other_comes() -> None:
    live = [event("l1", ["b1/0"]), event("l2", ["b2/0"])]
    shadow = [event("s1", ["b1/0"], "moved to Oslo"), event("s2", ["b2/0", "b3/0"])]
    found = decide_events(live, shadow, [])
    assert (found.created, found.deleted, found.same) == (tuple(shadow), tuple(live), {})


def test_of_two_that_say_the_same_each_finds_another() -> None:
    live = [event("l1", ["b1/0"]), event("l2", ["b1/0"])]
    shadow = [event("s1", ["b1/0"]), event("s2", ["b1/0"]), event("s3", ["b1/0"])]
    found = decide_events(live, shadow, [])
    assert found.same == {uid("l1"): uid("s1"), uid("l2"): uid("s2")}
    assert found.created == (shadow[2],)


def test_an_event_that_was_edited_stays_in_the_place_of_those_that_share_a_message() -> None:
    edited = event("l1", ["b1/0", "b2/0"], "as written", updated_at=NOW)
    shadow = [event("s1", ["b1/0"]), event("s2", ["b2/0", "b3/0"]), event("s3", ["b4/0"])]
    found = decide_events([edited], shadow, [edit("l1", "u")])
    assert (found.kept, found.dropped) == ((uid("l1"),), (uid("s1"), uid("s2")))
    assert (found.created, found.deleted) == ((shadow[2],), ())


def test_an_edited_event_that_says_what_the_shadow_says_is_kept_all_the_same() -> None:
    found = decide_events([event("l1", ["b1/0"], updated_at=NOW)], [event("s1", ["b1/0"])], [edit("l1", "u")])
    assert (found.kept, found.same, found.dropped) == ((uid("l1"),), {}, (uid("s1"),))


def test_an_event_that_was_removed_takes_those_that_share_a_message_along() -> None:
    found = decide_events([], [event("s1", ["b1/0"]), event("s2", ["b2/0"])], [edit("l1", "u"), edit("l1", "d")])
    assert found.dropped == (uid("s1"),)
    assert [one.event_id for one in found.created] == [uid("s2")]


def test_of_a_removed_event_whose_words_were_deleted_nobody_knows_the_messages() -> None:
    assert decide_events([], [event("s1", ["b1/0"])], [edit("l1", "d", None)]).dropped == ()
