"""A shadow's profile with what was edited by hand on top."""

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from itertools import count
from typing import Any
from uuid import UUID, uuid5

from storage.browsing import HistoryRow
from storage.profile_as_of import Change, play_back
from storage.profile_writing import ProfileRow
from storage.promotion_profile import PromotedProfile, decide_profile, newest_edits

BEGIN = datetime(2026, 3, 1, tzinfo=UTC)
SPACE = UUID(int=0)
EXTRACTOR = {"name": "offline"}


def uid(name: str) -> UUID:
    return uuid5(SPACE, name)


def row(name: str, slot: str, content: str, day: int = 0, **changes: Any) -> ProfileRow:
    topic, _, sub_topic = slot.partition("/")
    at = BEGIN + timedelta(days=day)
    values: dict[str, Any] = {
        "profile_id": uid(name),
        "topic": topic,
        "sub_topic": sub_topic,
        "content": content,
        "update_hits": 0,
        "message_ids": ("b1/0",),
        "window_ids": (),
        "occurred_at": at,
        "recorded_at": at,
        "created_at": at,
        "updated_at": at,
    }
    return ProfileRow(**(values | changes))


class History:
    """Numbers rows in their order."""

    def __init__(self, first: int = 1) -> None:
        self.rows: list[HistoryRow] = []
        self._numbers = count(first)

    def add(
        self, name: str, slot: str, before: str | None, after: str | None, day: int, why: str = "", **changes: Any
    ) -> None:
        topic, _, sub_topic = slot.partition("/")
        at = BEGIN + timedelta(days=day)
        values: dict[str, Any] = {
            "history_id": next(self._numbers),
            "profile_id": uid(name),
            "topic": topic,
            "sub_topic": sub_topic,
            "op": "c" if before is None else "d" if after is None else "u",
            "before": before,
            "after": after,
            "why": why or "new",
            "revision": 1,
            "message_ids": () if why else ("b1/0",),
            "window_ids": (),
            "extractor": None if why else EXTRACTOR,
            "occurred_at": at,
            "recorded_at": at,
        }
        self.rows.append(HistoryRow(**(values | changes)))


def ids() -> Any:
    numbers = count()
    return lambda: uid(f"new {next(numbers)}")


def decide(
    live: Sequence[ProfileRow],
    shadow: Sequence[ProfileRow],
    edited: History | None = None,
    shadow_history: History | None = None,
) -> PromotedProfile:
    return decide_profile(
        live,
        shadow,
        edited.rows if edited else [],
        shadow_history.rows if shadow_history else [],
        ids(),
    )


def contents(promoted: PromotedProfile) -> dict[str, tuple[str, UUID]]:
    return {f"{one.topic}/{one.sub_topic}": (one.content, one.profile_id) for one in promoted.rows}


def played(promoted: PromotedProfile, edited: History, shadow_history: History) -> dict[str, tuple[str, UUID]]:
    """The profile that the promoted history makes, as the writer puts it together."""
    renamed = dict(promoted.renamed)
    numbered = {one.history_id: one for one in [*edited.rows, *shadow_history.rows]}
    told = [
        (one, renamed.get(one.profile_id, one.profile_id))
        for one in shadow_history.rows
        if one.history_id not in promoted.moved
    ]
    told += [(numbered[number], profile_id) for number, profile_id in promoted.copied]
    told += [
        (numbered[number], renamed.get(numbered[number].profile_id, numbered[number].profile_id))
        for number in promoted.moved
    ]
    entries = play_back(
        Change(profile_id, one.topic, one.sub_topic, one.op, one.before, one.after, one.recorded_at)
        for one, profile_id in told
    )
    return {f"{one.topic}/{one.sub_topic}": (one.content, one.profile_id) for one in entries}


def test_without_edits_the_shadow_takes_the_place_and_slots_of_both_keep_the_live_id() -> None:
    live = [row("l1", "work/company", "Acme"), row("l2", "work/title", "clerk")]
    shadow = [row("s1", "work/company", "ACME Inc", 1), row("s2", "home/city", "Oslo", 1)]
    promoted = decide(live, shadow)
    assert contents(promoted) == {"work/company": ("ACME Inc", uid("l1")), "home/city": ("Oslo", uid("s2"))}
    assert promoted.renamed == {uid("s1"): uid("l1")}
    assert (promoted.kept, promoted.written, promoted.dropped, promoted.copied, promoted.moved) == ((), (), (), (), ())


def test_the_profile_comes_by_topic_and_sub_topic() -> None:
    promoted = decide([], [row("s1", "work/title", "clerk"), row("s2", "home/city", "Oslo")])
    assert [(one.topic, one.sub_topic) for one in promoted.rows] == [("home", "city"), ("work", "title")]


def test_an_edit_stands_over_what_was_said_before_it() -> None:
    edited, history = History(), History(100)
    edited.add("l1", "work/company", None, "Acme", 0)
    edited.add("l1", "work/company", "Acme", "ACME Corp.", 5, "edited")
    history.add("s1", "work/company", None, "Acme Incorporated", 1)
    entry = row("l1", "work/company", "ACME Corp.", 5, message_ids=())
    promoted = decide([entry], [row("s1", "work/company", "Acme Incorporated", 1)], edited, history)
    assert promoted.rows == (entry,)
    assert (promoted.kept, promoted.dropped, promoted.written) == ((uid("l1"),), (uid("s1"),), ())
    assert promoted.renamed == {uid("s1"): uid("l1")}
    assert promoted.copied == ((2, uid("l1")),)
    assert played(promoted, edited, history) == contents(promoted)


def test_of_what_was_said_at_the_time_of_the_edit_the_edit_stands() -> None:
    edited = History()
    edited.add("l1", "work/company", "Acme", "ACME Corp.", 5, "edited")
    promoted = decide([], [row("s1", "work/company", "Acme", 5)], edited)
    assert contents(promoted) == {"work/company": ("ACME Corp.", uid("l1"))}


def test_what_was_said_after_an_edit_stands_and_the_edit_comes_before_it_in_the_history() -> None:
    edited, history = History(), History(100)
    edited.add("l1", "work/company", "Acme", "ACME Corp.", 5, "edited")
    history.add("s1", "work/company", None, "Acme", 1)
    history.add("s1", "work/company", "Acme", "Globex", 9)
    history.add("s1", "work/company", "Globex", "Initech", 8)
    live = [row("l1", "work/company", "ACME Corp.", 5)]
    promoted = decide(live, [row("s1", "work/company", "Initech", 8)], edited, history)
    assert contents(promoted) == {"work/company": ("Initech", uid("l1"))}
    assert (promoted.copied, promoted.moved) == (((1, uid("l1")),), (101, 102))
    assert (promoted.kept, promoted.written, promoted.dropped) == ((), (), ())
    assert played(promoted, edited, history) == contents(promoted)


def test_what_was_removed_by_hand_is_removed_and_known_to_be() -> None:
    edited, history = History(), History(100)
    edited.add("l1", "work/company", "Acme", None, 5, "removed")
    edited.add("l2", "work/title", "clerk", None, 5, "removed")
    history.add("s1", "work/company", None, "Acme", 1)
    promoted = decide([], [row("s1", "work/company", "Acme", 1)], edited, history)
    assert promoted.rows == ()
    assert promoted.dropped == (uid("s1"),)
    assert promoted.copied == ((1, uid("s1")), (2, uid("l2")))
    assert played(promoted, edited, history) == {}


def test_an_entry_that_only_a_hand_has_written_comes_along_with_its_id() -> None:
    edited = History()
    edited.add("l1", "hobby/sport", None, "rowing", 3, "added")
    entry = row("l1", "hobby/sport", "rowing", 3)
    promoted = decide([entry], [], edited)
    assert (promoted.rows, promoted.kept, promoted.copied) == ((entry,), (uid("l1"),), ((1, uid("l1")),))


def test_the_newest_of_several_edits_stands() -> None:
    edited = History()
    edited.add("l1", "hobby/sport", None, "rowing", 3, "added")
    edited.add("l1", "hobby/sport", "rowing", None, 4, "removed")
    edited.add("l2", "hobby/sport", None, "chess", 5, "added")
    promoted = decide([row("l2", "hobby/sport", "chess", 5)], [], edited)
    assert contents(promoted) == {"hobby/sport": ("chess", uid("l2"))}


def test_an_edit_that_extraction_has_written_over_since_is_written_anew_with_its_id() -> None:
    edited = History()
    edited.add("l1", "work/company", "Acme", "ACME Corp.", 5, "edited")
    edited.add("l1", "work/company", "ACME Corp.", "Globex", 7)
    promoted = decide([row("l1", "work/company", "Globex", 7)], [], edited)
    (entry,) = promoted.written
    assert (entry.profile_id, entry.content, entry.message_ids) == (uid("l1"), "ACME Corp.", ())
    assert entry.occurred_at == entry.recorded_at == entry.updated_at == BEGIN + timedelta(days=5)
    assert promoted.copied == ((1, uid("l1")),)


def test_an_entry_that_was_moved_by_hand_is_gone_from_its_first_slot_and_says_what_it_rests_on() -> None:
    edited, history = History(), History(100)
    edited.add("l1", "home/city", None, "Oslo", 0)
    edited.add("l1", "home/city", "Oslo", None, 5, "removed")
    edited.add("l1", "life/relocation", None, "Oslo", 5, "edited")
    history.add("s1", "home/city", None, "Oslo, Norway", 1)
    entry = row("l1", "life/relocation", "Oslo", 0)
    promoted = decide([entry], [row("s1", "home/city", "Oslo, Norway", 1)], edited, history)
    assert promoted.rows == (entry,)
    assert (promoted.kept, promoted.dropped) == ((uid("l1"),), (uid("s1"),))
    # With the message, so that a deletion of its blob finds the words.
    assert set(promoted.copied) == {(1, uid("l1")), (2, uid("l1")), (3, uid("l1")), (2, uid("s1"))}
    assert played(promoted, edited, history) == contents(promoted)


def test_a_statement_that_was_added_to_keeps_the_messages_of_both() -> None:
    edited = History()
    edited.add("l1", "hobby/sport", None, "rowing", 0)
    edited.add("l1", "hobby/sport", "rowing", "rowing; chess", 5, "added")
    edited.add("l1", "hobby/sport", "rowing; chess", "skiing", 6)
    promoted = decide([row("l1", "hobby/sport", "skiing", 6)], [], edited)
    assert [one.message_ids for one in promoted.written] == [("b1/0",)]
    assert promoted.copied == ((1, uid("l1")), (2, uid("l1")))


def test_no_id_is_given_twice() -> None:
    edited = History()
    edited.add("l1", "hobby/sport", None, "rowing", 3, "added")
    edited.add("l1", "hobby/sport", "rowing", None, 4)
    live = [row("l1", "home/city", "Oslo", 6)]
    promoted = decide(live, [row("s1", "home/city", "Oslo", 6)], edited)
    assert contents(promoted) == {"hobby/sport": ("rowing", uid("new 0")), "home/city": ("Oslo", uid("l1"))}


def test_of_an_edit_whose_words_were_deleted_nothing_stands() -> None:
    edited = History()
    edited.add("l1", "hobby/sport", "rowing", None, 3, "added")
    edited.add("l2", "hobby/game", "chess", None, 3, "blob-deleted")
    assert newest_edits(edited.rows) == {}
    shadow = [row("s1", "hobby/sport", "rowing", 1), row("s2", "hobby/game", "chess", 1)]
    assert {name: content for name, (content, _) in contents(decide([], shadow, edited)).items()} == {
        "hobby/sport": "rowing",
        "hobby/game": "chess",
    }
