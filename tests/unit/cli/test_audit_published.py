"""What is published is compared with Postgres: late is not wrong, another state is."""

from dataclasses import replace
from datetime import UTC, datetime
from typing import Any
from uuid import UUID

import orjson
import pytest

from cli.audit_published import (
    NO_ENTRIES,
    Expected,
    Published,
    StateLook,
    StateVerdict,
    TopicLook,
    compare_state,
    digest_of,
    missing_changes,
    published,
    unknown_changes,
)
from schemas.changes import ProfileEntry, ProfileState
from storage.audit_published import ChangeKey, UserChanges

AT = "2026-11-20T12:00:00Z"
NOW = datetime(2026, 11, 20, 12, tzinfo=UTC)
ANN = ("default", "ann")
ENTRY = ProfileEntry(
    id=UUID(int=1),
    topic="work",
    sub_topic="company",
    content="Acme",
    occurred_at=AT,
    recorded_at=AT,
    update_hits=0,
    message_ids=["b1/0"],
)
THERE = Expected(revision=5, state_revision=4, digest=digest_of([ENTRY]), is_pending=False)
KEY = ChangeKey("profile-updated", 3, UUID(int=1), "c")


def value(revision: int, *entries: ProfileEntry) -> bytes:
    state = ProfileState(project_id="default", user_id="ann", revision=revision, ts_ms=0, profile=entries)
    return state.model_dump_json().encode()


@pytest.mark.parametrize(
    ("there", "state", "verdict"),
    [
        (THERE, Published(4, THERE.digest), "equal"),
        (THERE, Published(5, THERE.digest), "equal"),
        (THERE, Published(3, THERE.digest), "behind"),
        (THERE, Published(4, NO_ENTRIES), "behind"),
        (THERE, Published(6, THERE.digest), "ahead"),
        (THERE, None, "behind"),
        (replace(THERE, is_pending=True), Published(3, NO_ENTRIES), "pending"),
        (Expected(2, 0, NO_ENTRIES, False), None, "equal"),
        (Expected(2, 1, NO_ENTRIES, False), None, "behind"),
        (None, None, "equal"),
        (None, Published(1, NO_ENTRIES), "unknown"),
    ],
)
def test_states_are_compared(there: Expected | None, state: Published | None, verdict: StateVerdict) -> None:
    assert compare_state(there, state) == verdict


def test_a_state_is_the_same_in_any_order_of_its_entries() -> None:
    other = ENTRY.model_copy(update={"topic": "art"})
    assert published(value(1, ENTRY, other)) == published(value(1, other, ENTRY))
    assert published(value(1, ENTRY)) != published(value(1, ENTRY.model_copy(update={"content": "Bolt"})))


def ce_id(number: int) -> dict[str, bytes]:
    return {"ce_id": str(UUID(int=number)).encode()}


def test_an_older_state_behind_a_newer_one_is_told_unless_it_comes_a_second_time() -> None:
    look = StateLook(lambda _: True)

    def read(number: int, revision: int) -> list[str | None]:
        return [one.place for one in look.read(f"0/{number}", b"default/ann", value(revision), ce_id(revision))]

    assert [read(0, 1), read(1, 3), read(2, 1), read(3, 3)] == [[], [], [], []]
    assert read(4, 2) == ["0/4"]
    assert look.newest[ANN] == Published(2, NO_ENTRIES)
    assert not list(look.read("0/5", b"default/ann", None, ce_id(9)))
    assert look.newest[ANN] is None


def change(revision: int, op: str = "c") -> bytes:
    return orjson.dumps(
        {
            "op": op,
            "before": None if op == "c" else {"id": str(UUID(int=1))},
            "after": None if op == "d" else {"id": str(UUID(int=1))},
            "revision": revision,
            "ts_ms": 7,
            "project_id": "default",
            "user_id": "ann",
        }
    )


def test_changes_are_read_once_each_and_in_order() -> None:
    look = TopicLook(lambda user: user == ANN)

    def read(number: int, raw: bytes) -> list[str]:
        return [one.detail for one in look.read("profile-updated", "0/0", raw, ce_id(number))]

    assert [read(1, change(3)), read(2, change(4, "d")), read(1, change(3)), read(2, change(4, "d"))] == [[]] * 4
    assert look.told(ANN) == [(KEY, 7), (ChangeKey("profile-updated", 4, UUID(int=1), "d"), 7)]
    assert read(3, change(2)) == ["profile-updated: revision 2 lies behind 4"]
    # What is replayed is no news.
    assert read(4, change(1, "r")) == []
    assert look.told(("default", "bob")) == []


def missing(there: UserChanges, *told: ChangeKey) -> list[ChangeKey]:
    return missing_changes(there, set(told), lambda key, _: key.revision != 9)


def test_a_change_is_missing_where_it_is_neither_published_nor_waits() -> None:
    there = UserChanges(5, recorded=[(KEY, NOW), (replace(KEY, revision=9), NOW)])
    assert missing(there) == [KEY]
    assert missing(there, KEY) == []
    assert missing(replace(there, imported_revision=2)) == [KEY]
    assert missing(replace(there, imported_revision=3)) == []
    there.pending.add(KEY)
    assert missing(there) == []


def unknown(there: UserChanges, *told: ChangeKey, ts_ms: int = 7) -> list[str]:
    return [fault for _, fault in unknown_changes(there, [(key, ts_ms) for key in told], lambda at_ms: at_ms > 5)]


def test_a_change_that_postgres_does_not_have_is_told() -> None:
    there = UserChanges(5, recorded=[(KEY, NOW)])
    other = replace(KEY, revision=4)
    assert unknown(there, KEY) == []
    assert unknown(there, KEY, KEY) == ["is published under two ids"]
    assert unknown(there, other) == ["is not in Postgres"]
    assert unknown(there, other, ts_ms=5) == []
    assert unknown(replace(there, forgotten_revision=4), other) == []
    assert unknown(replace(there, imported_revision=4), other) == []
    assert unknown(replace(there, imported_revision=3), other) == ["is not in Postgres"]


def test_an_event_that_was_edited_has_only_its_last_revision() -> None:
    created = ChangeKey("event-updated", 2, UUID(int=8), "c")
    there: Any = UserChanges(5, event_ids={UUID(int=8)})
    assert unknown(there, created) == []
    assert unknown(there, replace(created, op="u")) == ["is not in Postgres"]
