"""Positions in the change topics and the text that stands for them."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from schemas.change_feed import CHANGE_TOPICS, InvalidCursor, PositionGone
from streams.change_cursor import (
    MAX_CHARACTERS,
    Positions,
    checked_positions,
    covers,
    format_cursor,
    merge_into,
    parse_cursor,
)

OFFSETS = st.integers(0, (1 << 63) - 1)


def positions_of(**offsets: list[int]) -> Positions:
    """Of two partitions a topic, unless said otherwise."""
    return {
        (topic, partition): offset
        for topic in CHANGE_TOPICS
        for partition, offset in enumerate(offsets.get(topic.replace("-", "_"), [0, 0]))
    }


@given(st.lists(st.lists(OFFSETS, min_size=1, max_size=40), min_size=len(CHANGE_TOPICS), max_size=len(CHANGE_TOPICS)))
def test_a_cursor_says_where_every_partition_goes_on(offsets: list[list[int]]) -> None:
    positions = {
        (topic, partition): offset
        for topic, found in zip(CHANGE_TOPICS, offsets, strict=True)
        for partition, offset in enumerate(found)
    }
    assert parse_cursor(format_cursor(positions)) == positions


def test_a_cursor_needs_no_escaping() -> None:
    cursor = format_cursor(positions_of(profile_updated=[3, 0, 12], event_updated=[7], profiles=[9, 1]))
    assert cursor == "v1-3.0.12-7-9.1"


@pytest.mark.parametrize(
    "text",
    [
        "",
        "v1",
        "v1-1-1",
        "v1-1-1-1-1",
        "v2-1-1-1",
        "v1-1-1-1\n",
        "v1-1..2-1-1",
        "v1-.1-1-1",
        "v1-1.-1-1",
        "v1--1-1-1",
        "v1-١-1-1",
        f"v1-{1 << 63}-1-1",
        "v1-" + "9" * 20 + "-1-1",
        "v1-" + ".".join("1" * MAX_CHARACTERS) + "-1-1",
        "earliest",
        "0",
    ],
)
def test_what_no_stream_has_given_out_is_refused(text: str) -> None:
    with pytest.raises(InvalidCursor):
        parse_cursor(text)


def test_a_partition_that_is_newer_than_a_cursor_is_read_from_its_beginning() -> None:
    asked = parse_cursor("v1-5-6-7")
    first = positions_of()
    end = positions_of(profile_updated=[9, 9], event_updated=[9, 9], profiles=[9, 9])
    assert checked_positions(asked, first, end) == positions_of(
        profile_updated=[5, 0], event_updated=[6, 0], profiles=[7, 0]
    )


@pytest.mark.parametrize(
    ("asked", "first", "what"),
    [
        ("v1-4.9-0.0-0.0", positions_of(profile_updated=[5, 0]), "retention"),
        ("v1-4-0.0-0.0", positions_of(profile_updated=[0, 1]), "retention"),
        ("v1-10.0-0.0-0.0", positions_of(), "made anew"),
        ("v1-0.0.0-0.0-0.0", positions_of(), "made anew"),
    ],
)
def test_what_cannot_be_resumed_without_a_gap_is_refused(asked: str, first: Positions, what: str) -> None:
    end = positions_of(profile_updated=[9, 9], event_updated=[9, 9], profiles=[9, 9])
    with pytest.raises(PositionGone, match=what):
        checked_positions(parse_cursor(asked), first, end)


def test_an_end_that_was_reached_is_not_gone_when_everything_before_it_is() -> None:
    end = positions_of(profile_updated=[9, 9])
    assert checked_positions(parse_cursor("v1-9.9-0.0-0.0"), end, end) == end


def test_positions_cover_what_begins_at_them_or_before() -> None:
    floor = positions_of(profile_updated=[5, 5])
    assert covers(positions_of(profile_updated=[5, 7]), floor)
    assert not covers(positions_of(profile_updated=[7, 4]), floor)
    assert not covers({}, floor)


def test_positions_move_forward_only() -> None:
    positions = positions_of(profile_updated=[5, 5])
    merge_into(positions, positions_of(profile_updated=[4, 6]))
    assert positions == positions_of(profile_updated=[5, 6])
