"""What is left of a user's memory without blobs that were deleted: pure decisions.

One rule: what rests on deleted blobs alone goes, and what rests on other messages or on somebody's hand, too, stays.
What joins the words of several messages into one text cannot be taken apart: a profile entry's value stays as the
other message left it, and an event's summary and tags, which are of the whole conversation, go; its lines stay.
To move an entry by hand is not to write what it says.
"""

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Literal
from uuid import UUID

from schemas.memory import Quote
from storage.browsing import EventRow, HistoryRow

# What an event says of a whole conversation.
Overall = Literal["summary", "tags"]


@dataclass(frozen=True, slots=True)
class RedactedSlot:
    """A profile entry's history without some blobs.

    `removed` are the rows that go, `rewritten` those that say something else now, `last` is the newest that is left.
    `is_changed` says that the entry's own value is another one: `value`, which rests on `message_ids`, or none at all.
    """

    removed: tuple[int, ...]
    rewritten: tuple[HistoryRow, ...]
    last: HistoryRow | None
    value: str | None
    message_ids: tuple[str, ...]
    is_changed: bool


@dataclass(frozen=True, slots=True)
class RedactedEvent:
    """An event without some blobs; `is_gone` where nothing is left of it, `removed` are the gists that go."""

    event: EventRow
    removed: tuple[UUID, ...]
    is_gone: bool
    is_changed: bool


def blob_of(message_id: str) -> str:
    """The blob that a message is in."""
    return message_id.rpartition("/")[0]


def rests_on(message_ids: Collection[str], erased: Collection[str]) -> bool:
    """Whether something was taken from these blobs only; what names no message was written by hand."""
    return bool(message_ids) and all(blob_of(identifier) in erased for identifier in message_ids)


def without_quotes(quotes: Iterable[Quote], erased: Collection[str]) -> tuple[Quote, ...]:
    """The words of other messages."""
    return tuple(quote for quote in quotes if blob_of(quote.message_id) not in erased)


def redact_slot(history: Sequence[HistoryRow], erased: Collection[str]) -> RedactedSlot:
    """The history of one profile entry, the oldest row first, as if changes that rest on erased blobs had not happened.

    What was merged later from other messages stays as it is, whatever it was merged into, and so do deletions.
    """
    removed: list[int] = []
    rewritten: list[HistoryRow] = []
    last: HistoryRow | None = None
    value = former = None
    message_ids: tuple[str, ...] = ()
    left: tuple[HistoryRow, str | None, tuple[str, ...]] | None = None
    for row in history:
        says, rests = row.after, row.message_ids
        if left is not None and _is_moved(left[0], row):
            _, says, rests = left
            goes = says is None
        else:
            goes = says is not None and rests_on(rests, erased)
        if goes:
            removed.append(row.history_id)
            former = row.after
            continue
        kept = replace(row, after=says, quotes=without_quotes(row.quotes, erased))
        if value != former:
            kept = replace(kept, before=value, op="c" if value is None and row.op == "u" else row.op)
        if kept != row:
            rewritten.append(kept)
        left = row, value, message_ids
        value, former, message_ids = says, row.after, rests
        last = kept
    return RedactedSlot(tuple(removed), tuple(rewritten), last, value, message_ids, is_changed=value != former)


def redact_event(event: EventRow, erased: Collection[str], by_hand: Collection[Overall] = ()) -> RedactedEvent:
    """The event without what it has from erased blobs, some of which were in its conversation; what of it is said of
    all of that stays where it was written `by_hand`.
    """
    gists = tuple(
        replace(gist, quotes=without_quotes(gist.quotes, erased))
        for gist in event.gists
        if not rests_on(gist.message_ids, erased)
    )
    kept = {gist.gist_id for gist in gists}
    redacted = replace(
        event,
        summary=event.summary if "summary" in by_hand else None,
        tags=event.tags if "tags" in by_hand else [],
        gists=gists,
        profile_delta=[item for item in event.profile_delta if not rests_on(_messages_of(item), erased)],
    )
    is_edited = event.updated_at is not None
    is_empty = not (redacted.summary or redacted.tags or gists or redacted.profile_delta)
    is_gone = is_empty or (not is_edited and rests_on(event.message_ids, erased))
    if is_gone:
        redacted = replace(redacted, gists=(), profile_delta=[])
    return RedactedEvent(
        redacted,
        removed=tuple(gist.gist_id for gist in event.gists if gist.gist_id not in kept),
        is_gone=is_gone,
        is_changed=is_gone or redacted != event,
    )


def _is_moved(left: HistoryRow, entered: HistoryRow) -> bool:
    """Whether one edit by hand took an entry from a slot to another as it was."""
    return left.op == "d" and (left.revision, left.before) == (entered.revision, entered.after)


def _messages_of(item: Mapping[str, Any]) -> Sequence[str]:
    # Those of an older release, or edited by hand, name none.
    return item.get("message_ids") or ()
