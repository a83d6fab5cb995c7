"""When windows close, in record time, and how what is too large is packed and split."""

from collections.abc import Sequence
from dataclasses import replace
from typing import Any, NamedTuple

import pytest
from hypothesis import given
from hypothesis import strategies as st

from schemas.conversation import messages_of
from schemas.errors import InvalidRecord
from schemas.images import IMAGE_TOKENS
from schemas.settings import BufferSettings
from schemas.tokens import estimate_tokens
from schemas.windows import Position, Unit
from streams.windowing import (
    Head,
    WindowPolicy,
    add,
    close_after,
    close_before,
    pack,
    record_time_ms,
    split,
    tail_deadline_ms,
    unit_tokens,
)
from tests.support.buffer_step import DAY_MS, HOUR_MS, START_MS, policy, unit

TEXTS = st.text(alphabet="ab .,!?;\n\n我喜欢北京。，！？é😀", max_size=300)


def head(**changes: Any) -> Head:
    base = add(None, unit("b1", tokens=10), START_MS, 100)
    return replace(base, **changes)


def test_nothing_closes_a_young_and_small_buffer() -> None:
    assert close_before(head(), START_MS + HOUR_MS, 100, policy()) is None
    assert close_after(head(), policy()) is None


def test_a_gap_longer_than_the_interval_closes_the_window_before_the_record_joins() -> None:
    assert close_before(head(), START_MS + HOUR_MS + 1, 100, policy()) == "idle"


def test_a_window_closes_at_its_maximal_age_though_its_user_never_pauses() -> None:
    talkative = head(last_ms=START_MS + DAY_MS)
    assert close_before(talkative, START_MS + DAY_MS, 100, policy()) is None
    assert close_before(talkative, START_MS + DAY_MS + 1, 100, policy()) == "age"


def test_a_window_closes_before_a_blob_that_would_burst_it() -> None:
    assert close_before(head(size_bytes=900), START_MS, 100, policy(max_bytes=1000)) is None
    assert close_before(head(size_bytes=901), START_MS, 100, policy(max_bytes=1000)) == "size"


def test_a_window_closes_when_it_is_full_of_tokens_blobs_or_bytes() -> None:
    assert close_after(head(tokens=1024), policy(close_tokens=1024)) == "tokens"
    assert close_after(head(tokens=1023), policy(close_tokens=1024)) is None
    assert close_after(head(next_entry=5), policy(max_blobs=5)) == "size"
    assert close_after(head(next_entry=4), policy(max_blobs=5)) is None
    assert close_after(head(size_bytes=1000), policy(max_bytes=1000)) == "size"


def test_a_head_counts_what_joins_it() -> None:
    first = add(None, unit("b1", tokens=10, recorded_at_ms=5000), 4000, 100)
    second = add(first, unit("b2", tokens=7, recorded_at_ms=4500), 4200, 50)
    assert second == Head(
        first_entry=0,
        next_entry=2,
        tokens=17,
        size_bytes=150,
        first_ms=4000,
        last_ms=4200,
        first_recorded_ms=5000,
        last_recorded_ms=5000,
        last_blob_id="b2",
    )
    assert second.count == 2


def test_record_time_is_when_the_blob_occurred() -> None:
    backfilled = unit(occurred_at_ms=START_MS - 90 * DAY_MS, recorded_at_ms=START_MS)
    assert record_time_ms(backfilled, None) == START_MS - 90 * DAY_MS


def test_a_clock_ahead_counts_as_the_time_of_the_record() -> None:
    ahead = unit(occurred_at_ms=START_MS + 365 * DAY_MS, recorded_at_ms=START_MS)
    assert record_time_ms(ahead, None) == START_MS


def test_a_clock_that_jumps_back_does_not_turn_record_time_back() -> None:
    back = unit(occurred_at_ms=START_MS - DAY_MS)
    assert record_time_ms(back, head(last_ms=START_MS)) == START_MS


def test_a_forwarded_record_keeps_the_time_of_its_origin() -> None:
    origin = Position(topic="t", partition=1, offset=7, timestamp_ms=START_MS - 5)
    assert record_time_ms(unit(occurred_at_ms=START_MS, recorded_at_ms=START_MS, origin=origin), None) == START_MS - 5


def test_a_tail_is_due_when_its_user_was_idle_for_the_interval() -> None:
    assert tail_deadline_ms(head(), START_MS + 5, policy()) == START_MS + HOUR_MS


def test_a_tail_is_due_at_its_maximal_age_if_that_comes_first() -> None:
    old = head(last_recorded_ms=START_MS + DAY_MS - 5)
    assert tail_deadline_ms(old, START_MS + DAY_MS, policy()) == START_MS + DAY_MS


def test_a_record_from_a_clock_ahead_does_not_put_its_tail_off() -> None:
    ahead = head(first_recorded_ms=START_MS + DAY_MS, last_recorded_ms=START_MS + DAY_MS)
    assert tail_deadline_ms(ahead, START_MS, policy()) == START_MS + HOUR_MS


def test_a_policy_never_makes_windows_that_their_topic_does_not_take() -> None:
    settings = BufferSettings(max_blob_bytes=200_000, max_window_bytes=1_000_000)
    assert WindowPolicy.from_settings(settings).max_bytes == 200_000


SIZED = st.lists(st.tuples(st.integers(0, 60), st.integers(1, 60)), max_size=30)


class Sized(NamedTuple):
    """A unit, as far as packing looks at it."""

    blob_id: str
    token_count: int
    size_bytes: int


@given(SIZED, st.integers(1, 60), st.integers(1, 60), st.integers(1, 8))
def test_packing_loses_nothing_and_exceeds_no_limit(
    sizes: list[tuple[int, int]], process_tokens: int, max_bytes: int, max_blobs: int
) -> None:
    units = [Sized(f"b{n}", tokens, size) for n, (tokens, size) in enumerate(sizes)]
    limits = policy(process_tokens=process_tokens, max_bytes=max_bytes, max_blobs=max_blobs)
    windows = list(pack(units, limits))
    assert [held for window in windows for held in window] == units
    for window in windows:
        assert len(window) <= max_blobs
        # One that is too large alone cannot be helped here.
        if len(window) > 1:
            assert sum(held.token_count for held in window) <= process_tokens
            assert sum(held.size_bytes for held in window) <= max_bytes


def test_packing_opens_no_window_that_the_one_before_could_have_held() -> None:
    units = [Sized(f"b{n}", 10, 10) for n in range(6)]
    assert [len(window) for window in pack(units, policy(process_tokens=20))] == [2, 2, 2]


def chat_of(texts: Sequence[str], **more: object) -> Unit:
    messages = [{"role": "user", "content": text, **more} for text in texts]
    content = {"blob_type": "chat", "fields": {"k": 1}, "blob_data": {"messages": messages}}
    held = unit("b1", content)
    return held.model_copy(update={"token_count": unit_tokens(held, estimate_tokens)})


@given(st.lists(TEXTS, min_size=1, max_size=5), st.integers(12, 60))
def test_splitting_a_blob_loses_no_character_and_respects_the_limit(texts: list[str], limit_tokens: int) -> None:
    whole = chat_of(texts)
    pieces = list(split(whole, limit_tokens, estimate_tokens))
    said = ["" for _ in texts]
    for piece in pieces:
        assert piece.message_index is not None
        said[piece.message_index] += "".join(message.content for message in messages_of(piece))
        assert piece.token_count == unit_tokens(piece, estimate_tokens) <= limit_tokens
        assert piece.content_hash == whole.content_hash
        assert piece.content["fields"] == {"k": 1}
    assert said == texts
    keys = [piece.key for piece in pieces]
    assert keys == sorted(set(keys))


def test_messages_that_fit_stay_whole_and_parts_are_counted_from_nought() -> None:
    pieces = list(split(chat_of(["short", "long " * 30, "short"]), 30, estimate_tokens))
    assert [(piece.message_index, piece.part) for piece in pieces] == [(0, None), (1, 0), (1, 1), (1, 2), (2, None)]


@pytest.mark.parametrize(
    ("blob_type", "data"),
    [
        ("doc", {"content": "日本 " * 60}),
        ("code", {"content": "x = 1\n" * 60, "language": "python"}),
        ("summary", {"summary": "text " * 60}),
        ("transcript", {"transcripts": [{"content": "text " * 60, "start_timestamp_in_seconds": 1.0}]}),
    ],
)
def test_every_blob_type_with_text_can_be_split(blob_type: str, data: dict[str, Any]) -> None:
    whole = unit("b1", {"blob_type": blob_type, "blob_data": data})
    pieces = list(split(whole, 30, estimate_tokens))
    text = "".join(message.content for message in messages_of(whole))
    assert "".join(message.content for piece in pieces for message in messages_of(piece)) == text
    assert len(pieces) > 2
    assert all(piece.token_count <= 30 for piece in pieces)


def test_a_line_without_room_for_text_is_refused() -> None:
    with pytest.raises(InvalidRecord, match="name, created_at and role of message 0 take"):
        list(split(chat_of(["hello " * 30], alias="Ann" * 40), 30, estimate_tokens))


def bytes_counter(text: str) -> int:
    return len(text.encode())


@given(TEXTS, st.integers(40, 90))
def test_pieces_fit_by_any_counter_and_no_character_is_lost(text: str, limit_tokens: int) -> None:
    pieces = list(split(chat_of([text]), limit_tokens, bytes_counter))
    assert "".join(message.content for piece in pieces for message in messages_of(piece)) == text
    assert all(unit_tokens(piece, bytes_counter) <= limit_tokens for piece in pieces)


def test_who_has_the_vocabulary_cuts_where_who_has_not_cuts() -> None:
    text = "I like figs. Then I went home, and slept. " * 40

    def vocabulary(part: str) -> int:
        return estimate_tokens(part) * 3 // 4

    estimated, counted = (
        [piece.content for piece in split(chat_of([text]), 60, count)] for count in (estimate_tokens, vocabulary)
    )
    assert estimated == counted


def test_a_part_of_code_stands_between_fences_of_its_language_and_fits() -> None:
    whole = unit("b1", {"blob_type": "code", "blob_data": {"content": "x = 1  # one\n" * 60, "language": "python"}})
    for piece in split(whole, 40, estimate_tokens):
        (message,) = messages_of(piece)
        assert message.render().startswith("[2026/11/18] code: \n```python\nx = 1  # one\n")
        assert message.render().endswith("\n```")
        assert estimate_tokens(message.render()) < 40


def test_an_image_counts_as_many_tokens_as_are_stated_and_is_never_cut() -> None:
    picture = unit("b1", {"blob_type": "image", "blob_data": {"base64": "QUJD" * 1000}})
    assert IMAGE_TOKENS < unit_tokens(picture, estimate_tokens) < IMAGE_TOKENS + 20
    with pytest.raises(InvalidRecord, match=r"raise buffer.max_chat_blob_buffer_process_token_size"):
        list(split(picture, 500, estimate_tokens))
