"""The newest changes, at hand for all readers."""

import orjson
from hypothesis import given
from hypothesis import strategies as st

from schemas.change_feed import ChangeFilter
from streams.change_cursor import Place, Positions
from streams.change_records import ChangeRecord, read_change, wants
from streams.recent_changes import RecentChanges

PLACES: tuple[Place, ...] = (("profile-updated", 0), ("profile-updated", 1), ("event-updated", 0))
START: Positions = dict.fromkeys(PLACES, 10)
TRACE = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"


def value_of(project_id: str = "default", user_id: str = "ann", *, text: str = "", **other: object) -> bytes:
    return orjson.dumps(
        {"op": "c", "project_id": project_id, "user_id": user_id, "revision": 3, "ts_ms": 1000, "after": text} | other
    )


def record_at(place: Place, offset: int, text: str = "", key: bytes = b"default/ann") -> ChangeRecord:
    project_id, _, user_id = key.decode().partition("/")
    found = read_change(place, offset, 1000, key, value_of(project_id, user_id, text=text), ())
    assert found is not None
    return found


@given(
    st.lists(st.tuples(st.sampled_from(PLACES), st.integers(0, 4000), st.integers(1, 3)), max_size=60),
    st.integers(1, 30_000),
)
def test_nothing_between_the_floor_and_the_positions_is_missing_and_the_limit_holds(
    sent: list[tuple[Place, int, int]], max_bytes: int
) -> None:
    recent = RecentChanges(START, max_bytes)
    offsets = dict(START)
    for place, size, gap in sent:
        record = record_at(place, offsets[place], "x" * size)
        offsets[place] += gap
        recent.extend([record], {place: offsets[place]})
    kept = [recent[number] for number in range(recent.first, recent.next)]
    assert recent.positions == offsets
    assert sum(record.size_bytes for record in kept) <= max_bytes or len(kept) == 1
    for place in PLACES:
        of_place = [record.offset for record in kept if record.place == place]
        assert of_place == sorted(of_place)
        assert all(recent.floor[place] <= offset < recent.positions[place] for offset in of_place)
    if recent.first == 0:
        assert recent.floor == START


def test_partitions_that_are_added_begin_where_nothing_was_before() -> None:
    recent = RecentChanges(START, 1000)
    recent.add_partitions({**START, ("event-updated", 1): 0})
    assert recent.floor["event-updated", 1] == recent.positions["event-updated", 1] == 0
    assert recent.floor["event-updated", 0] == 10


def test_a_change_is_passed_on_as_a_cloud_event_with_its_trace() -> None:
    value = value_of("team-1", "an/n")
    headers = [
        ("ce_specversion", b"1.0"),
        ("ce_id", b"0b7c"),
        ("ce_type", b"memostream.profile.updated.v1"),
        ("ce_source", b"/memostream/team-1"),
        ("ce_subject", b"an/n"),
        ("ce_time", b"2026-11-20T10:00:00Z"),
        ("content-type", b"application/json"),
        ("traceparent", TRACE.encode()),
        ("other", None),
    ]
    record = read_change(("profile-updated", 0), 7, 1000, b"team-1/an/n", value, headers)
    assert record is not None
    assert orjson.loads(record.document()) == {
        "specversion": "1.0",
        "id": "0b7c",
        "type": "memostream.profile.updated.v1",
        "source": "/memostream/team-1",
        "subject": "an/n",
        "time": "2026-11-20T10:00:00Z",
        "traceparent": TRACE,
        "datacontenttype": "application/json",
        "data": orjson.loads(value),
    }


def test_what_another_relay_sends_without_our_headers_has_its_attributes_all_the_same() -> None:
    record = read_change(("event-updated", 2), 7, 1000, b"default/ann", value_of(), [("id", b"outbox-1")])
    bare = read_change(("event-updated", 2), 7, 1000, b"default/ann", value_of(), ())
    assert record is not None
    assert bare is not None
    assert record.attributes == {
        "id": "outbox-1",
        "type": "memostream.event.updated.v1",
        "source": "/memostream/default",
        "subject": "ann",
    }
    assert bare.attributes["id"] == "event-updated/2/7"


def test_a_tombstone_of_profiles_is_an_event_without_data() -> None:
    record = read_change(("profiles", 0), 7, 1000, b"default/ann", None, [("ce_id", b"0b7c")])
    assert record is not None
    assert orjson.loads(record.document()) == {
        "specversion": "1.0",
        "id": "0b7c",
        "type": "memostream.profile.state.v1",
        "source": "/memostream/default",
        "subject": "ann",
    }


def test_what_is_no_change_of_the_user_in_its_key_is_left_out() -> None:
    place: Place = ("profile-updated", 0)
    for key, value in (
        (None, value_of()),
        (b"ann", value_of()),
        (b"\xff/ann", value_of()),
        (b"default/ben", value_of()),
        (b"other/ann", value_of()),
        (b"default/ann", None),
        (b"default/ann", b"{"),
        (b"default/ann", b"[]"),
        (b"default/ann", value_of(revision="3")),
        (b"default/ann", value_of(ts_ms=None)),
    ):
        assert read_change(place, 7, 1000, key, value, ()) is None


def test_a_reader_gets_its_own_project_and_what_it_asked_for() -> None:
    record = record_at(("profile-updated", 0), 1, key=b"default/an/n")
    assert wants(ChangeFilter("default"), record)
    assert wants(ChangeFilter("default", frozenset({"an/n", "ben"})), record)
    assert not wants(ChangeFilter("default", frozenset({"an"})), record)
    assert not wants(ChangeFilter("default/an", frozenset({"n"})), record)
    assert not wants(ChangeFilter("defaul"), record)
    assert not wants(ChangeFilter("default", topics=frozenset({"event-updated"})), record)
    assert not wants(ChangeFilter("default"), record_at(("profiles", 0), 1))
