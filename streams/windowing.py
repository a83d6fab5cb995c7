"""When a window closes and what goes into it: pure functions of (head, record, policy)."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Protocol, TypeVar

from schemas.conversation import messages_of
from schemas.errors import InvalidRecord
from schemas.images import IMAGE_TOKENS
from schemas.settings import BufferSettings
from schemas.tokens import TokenCounter, estimate_tokens
from schemas.windows import CloseReason, Unit
from streams.text_splitting import fit_text


@dataclass(frozen=True, slots=True)
class WindowPolicy:
    """Limits of a window. `close_tokens` closes it, `process_tokens` is never exceeded."""

    close_tokens: int
    process_tokens: int
    max_blobs: int
    max_bytes: int
    max_age_ms: int
    flush_interval_ms: int

    @classmethod
    def from_settings(cls, settings: BufferSettings) -> "WindowPolicy":
        return cls(
            close_tokens=settings.max_chat_blob_buffer_token_size,
            process_tokens=settings.max_chat_blob_buffer_process_token_size,
            max_blobs=settings.max_window_blobs,
            # A window has to fit its topic, which takes twice max_blob_bytes.
            max_bytes=min(settings.max_window_bytes, settings.max_blob_bytes),
            max_age_ms=int(settings.max_window_age_s * 1000),
            flush_interval_ms=int(settings.buffer_flush_interval_s * 1000),
        )


@dataclass(frozen=True, slots=True)
class Head:
    """What is buffered of one user and blob type, of constant size.

    `first_ms` and `last_ms` are record time (see `record_time_ms`); `first_recorded_ms` and `last_recorded_ms` are
    Kafka timestamps. Entries are numbered from `first_entry` to below `next_entry`.
    """

    first_entry: int
    next_entry: int
    tokens: int
    size_bytes: int
    first_ms: int
    last_ms: int
    first_recorded_ms: int
    last_recorded_ms: int
    last_blob_id: str

    @property
    def count(self) -> int:
        return self.next_entry - self.first_entry


def record_time_ms(unit: Unit, head: Head | None) -> int:
    """*Now* in the stream: when the blob occurred, no later than its record's time, never before the head's last.

    A replay sees the same times and cuts the same windows; a clock that jumps ahead or back cannot.
    """
    now_ms = min(unit.occurred_at_ms, unit.first_position.timestamp_ms)
    return now_ms if head is None else max(now_ms, head.last_ms)


def close_before(head: Head, now_ms: int, size_bytes: int, policy: WindowPolicy) -> CloseReason | None:
    """Why what is buffered must close before a blob of `size_bytes` at `now_ms` joins it; None if it need not."""
    if now_ms - head.last_ms > policy.flush_interval_ms:
        return "idle"
    if now_ms - head.first_ms > policy.max_age_ms:
        return "age"
    if head.size_bytes + size_bytes > policy.max_bytes:
        return "size"
    return None


def close_after(head: Head, policy: WindowPolicy) -> CloseReason | None:
    """Why the buffer is full with its newest blob; None if it is not."""
    if head.tokens >= policy.close_tokens:
        return "tokens"
    if head.count >= policy.max_blobs or head.size_bytes >= policy.max_bytes:
        return "size"
    return None


def add(head: Head | None, unit: Unit, now_ms: int, size_bytes: int) -> Head:
    """The head with one more entry."""
    recorded_ms = unit.recorded_at_ms
    if head is None:
        return Head(0, 1, unit.token_count, size_bytes, now_ms, now_ms, recorded_ms, recorded_ms, unit.blob_id)
    # dataclasses.replace takes three times as long, and this runs once a message.
    return Head(
        first_entry=head.first_entry,
        next_entry=head.next_entry + 1,
        tokens=head.tokens + unit.token_count,
        size_bytes=head.size_bytes + size_bytes,
        first_ms=head.first_ms,
        last_ms=now_ms,
        first_recorded_ms=head.first_recorded_ms,
        last_recorded_ms=max(head.last_recorded_ms, recorded_ms),
        last_blob_id=unit.blob_id,
    )


def tail_deadline_ms(head: Head, now_ms: int, policy: WindowPolicy) -> int:
    """Wall-clock time at which the tail is flushed; record times ahead of the wall clock count as now."""
    idle_ms = min(head.last_recorded_ms, now_ms) + policy.flush_interval_ms
    age_ms = min(head.first_recorded_ms, now_ms) + policy.max_age_ms
    return min(idle_ms, age_ms)


class Sized(Protocol):
    """What a unit takes of a window."""

    @property
    def token_count(self) -> int: ...

    @property
    def size_bytes(self) -> int: ...


SizedUnit = TypeVar("SizedUnit", bound=Sized)


def pack(units: Iterable[SizedUnit], policy: WindowPolicy) -> Iterator[list[SizedUnit]]:
    """Cut units, in their order, into windows within tokens, bytes and blobs.

    A unit that alone is larger than `max_bytes` gets a window of its own.
    """
    window: list[SizedUnit] = []
    tokens = size_bytes = 0
    for unit in units:
        over = (
            tokens + unit.token_count > policy.process_tokens
            or size_bytes + unit.size_bytes > policy.max_bytes
            or len(window) >= policy.max_blobs
        )
        if window and over:
            yield window
            window, tokens, size_bytes = [], 0, 0
        window.append(unit)
        tokens += unit.token_count
        size_bytes += unit.size_bytes
    if window:
        yield window


def unit_tokens(unit: Unit, count: TokenCounter) -> int:
    """Tokens of the unit as a model reads it, a line a message; an image is estimated."""
    messages = messages_of(unit)
    return sum(count(message.render()) + 1 + (IMAGE_TOKENS if message.image else 0) for message in messages)


def split(unit: Unit, limit_tokens: int, count: TokenCounter) -> Iterator[Unit]:
    """Pieces of a blob that exceeds `limit_tokens`: its messages, and parts of a message that is too long alone.

    Texts are cut at paragraph, sentence or word borders where there are any; no character is lost. For one limit the
    borders are always the same, for the keys of the pieces name them. Raises InvalidRecord where the parts of a line
    that each piece repeats leave no room for text, and for an image that is too large.
    """
    for index, piece in enumerate(_single_messages(unit)):
        whole = unit.model_copy(update={"message_index": index, "content": piece})
        tokens = unit_tokens(whole, count)
        if tokens <= limit_tokens:
            yield whole.model_copy(update={"token_count": tokens})
            continue
        yield from _split_message(whole, tokens, limit_tokens, count)


def _split_message(whole: Unit, tokens: int, limit_tokens: int, count: TokenCounter) -> Iterator[Unit]:
    if any(message.image for message in messages_of(whole)):
        raise InvalidRecord(
            "too-large",
            f"an image counts {tokens} tokens, and a window holds {limit_tokens}; raise "
            "buffer.max_chat_blob_buffer_process_token_size",
        )
    bare = _with_text(whole, "")
    room_tokens = limit_tokens - unit_tokens(bare, estimate_tokens)
    if room_tokens < 1 or unit_tokens(bare, count) >= limit_tokens:
        raise InvalidRecord(
            "too-large",
            f"name, created_at and role of message {whole.message_index} take {unit_tokens(bare, count)} tokens of "
            f"the {limit_tokens} that a window holds; shorten them",
        )

    def fits(text: str) -> bool:
        return unit_tokens(_with_text(whole, text), count) <= limit_tokens

    for part, text in enumerate(fit_text(_text_of(whole), room_tokens, fits)):
        cut = _with_text(whole, text).model_copy(update={"part": part})
        yield cut.model_copy(update={"token_count": unit_tokens(cut, count)})


def _single_messages(unit: Unit) -> Iterator[dict[str, object]]:
    data = unit.content["blob_data"]
    for name in ("messages", "transcripts"):
        if name in data:
            for item in data[name]:
                yield {**unit.content, "blob_data": {**data, name: [item]}}
            return
    yield unit.content


def _text_of(unit: Unit) -> str:
    return "".join(message.content for message in messages_of(unit))


def _with_text(unit: Unit, text: str) -> Unit:
    data = unit.content["blob_data"]
    for name in ("messages", "transcripts"):
        if name in data:
            data = {**data, name: [{**data[name][0], "content": text}]}
            break
    else:
        data = {**data, ("summary" if "summary" in data else "content"): text}
    return unit.model_copy(update={"content": {**unit.content, "blob_data": data}})
