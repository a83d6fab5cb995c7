"""What is left of a user's memory without blobs that were deleted: pure decisions.

One rule: what rests on deleted blobs alone goes, and what rests on other messages or on somebody's hand, too, stays.
What joins the words of several messages into one text cannot be taken apart: a profile entry's value stays as the
other message left it, and an event's summary and tags, which are of the whole conversation, go; its lines stay.
"""

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any
from uuid import UUID

from schemas.memory import Quote
from storage.browsing import EventRow, HistoryRow


@dataclass(frozen=True, slots=True)
class RedactedSlot:
    """A profile entry's history without some blobs.

    `removed` are the rows that go, `rewritten` those that now begin elsewhere, `last` is the newest that is left.
    `is_changed` says that the entry's own value is another one: `value`, or none at all.
    """

    removed: tuple[int, ...]
    rewritten: tuple[HistoryRow, ...]
    last: HistoryRow | None
    value: str | None
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
    for row in history:
        if row.after is not None and rests_on(row.message_ids, erased):
            removed.append(row.history_id)
            former = row.after
            continue
        kept = replace(row, quotes=without_quotes(row.quotes, erased))
        if value != former:
            kept = replace(kept, before=value, op="c" if value is None and row.op == "u" else row.op)
        if kept != row:
            rewritten.append(kept)
        value = former = row.after
        last = kept
    return RedactedSlot(tuple(removed), tuple(rewritten), last, value, is_changed=value != former)


def redact_event(event: EventRow, erased: Collection[str]) -> RedactedEvent:
    """The event without what it has from erased blobs, some of which were in its conversation."""
    gists = tuple(
        replace(gist, quotes=without_quotes(gist.quotes, erased))
        for gist in event.gists
        if not rests_on(gist.message_ids, erased)
    )
    kept = {gist.gist_id for gist in gists}
    delta = [item for item in event.profile_delta if not rests_on(_messages_of(item), erased)]
    redacted = replace(event, gists=gists, profile_delta=delta)
    by_hand = event.updated_at is not None
    if not by_hand:
        redacted = replace(redacted, summary=None, tags=[])
    is_gone = not by_hand and (rests_on(event.message_ids, erased) or not (gists or delta))
    if is_gone:
        redacted = replace(redacted, gists=(), profile_delta=[])
    return RedactedEvent(
        redacted,
        removed=tuple(gist.gist_id for gist in event.gists if gist.gist_id not in kept),
        is_gone=is_gone,
        is_changed=is_gone or redacted != event,
    )


def _messages_of(item: Mapping[str, Any]) -> Sequence[str]:
    # Those of an older release, or edited by hand, name none.
    return item.get("message_ids") or ()
