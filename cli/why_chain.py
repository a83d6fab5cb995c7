"""The chain behind a fact, put together from values: changes, the messages that they name, what these say."""

import difflib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Final, Literal

from schemas.conversation import Message, messages_of
from schemas.memory import Quote
from schemas.sought_blobs import FoundBlob, SoughtBlob, likely_positions
from schemas.windows import Position, Unit
from storage.browsing import EventRow, HistoryRow
from storage.kept_blobs import KeptPiece
from storage.profile_writing import ProfileRow
from storage.units import ID_CONFLICT, WHOLE, RecordedUnit, UnitBook

NEAREST: Final = 5
# Of several units that hold a message, that whose state comes first says what became of it.
_STATES: Final = ("erased", "applied", "parked")

TextSource = Literal["postgres", "topic"]
# Beside the reader's: erased, on purpose; unknown, no unit is recorded; no-text, as an image; not-asked, --no-text.
Missing = Literal["removed", "replaced", "no-topic", "unanswered", "erased", "unknown", "no-text", "not-asked"]


@dataclass(frozen=True, slots=True)
class MessageLink:
    """A message that something was taken from. It has either a text with its source, or a reason why not."""

    message_id: str
    quotes: tuple[str, ...]
    unit: RecordedUnit | None = None
    message: Message | None = None
    source: TextSource | None = None
    missing: Missing | None = None


@dataclass(frozen=True, slots=True)
class ChangeLink:
    """A change of the slot, or of one that was joined into it, with its messages in the change's order."""

    row: HistoryRow
    messages: tuple[MessageLink, ...]


@dataclass(frozen=True, slots=True)
class SlotChain:
    """All that led to a slot's value, the newest change first. `current` is None for a slot that is not there any more.

    So many `older` ones are left out. `joined_into` is the sub-topic that took its content over, if one did.
    """

    project_id: str
    user_id: str
    topic: str
    sub_topic: str
    current: ProfileRow | None
    changes: tuple[ChangeLink, ...]
    older: int = 0
    joined_into: str | None = None


@dataclass(frozen=True, slots=True)
class EventChain:
    """An event, and the messages behind each of its lines; `others` are those behind no line."""

    project_id: str
    user_id: str
    event: EventRow
    lines: tuple[tuple[str, tuple[MessageLink, ...]], ...]
    others: tuple[MessageLink, ...]


@dataclass(frozen=True, slots=True)
class Evidence:
    """What is known of the messages: recorded units, texts in Postgres, and blobs from the topic, all by blob id."""

    book: UnitBook
    kept: Mapping[str, Sequence[KeptPiece]]
    found: Mapping[str, FoundBlob]
    asked: bool = True


def slot_history(history: Sequence[HistoryRow], sub_topic: str) -> list[HistoryRow]:
    """The slot's changes out of its topic's history, the newest first, with those of slots that were joined into it."""
    names = {sub_topic}
    rows = []
    for row in history:
        if row.sub_topic in names:
            rows.append(row)
            # What they were before is in the older rows; that they were deleted then is what the joining says.
            names.update(row.joined)
    return rows


def joined_into(history: Sequence[HistoryRow], sub_topic: str) -> str | None:
    """The sub-topic that took over the content of a slot whose last change is that it was deleted for it."""
    last = next((row for row in history if row.sub_topic == sub_topic), None)
    if last is None or last.op != "d":
        return None
    return next((row.sub_topic for row in history if row.revision == last.revision and sub_topic in row.joined), None)


def nearest_slots(topic: str, sub_topic: str, known: Iterable[tuple[str, str]]) -> list[str]:
    """Names of known slots that somebody may have meant, the likeliest first; all of the topic's, where it exists."""
    names = sorted({f"{one}/{other}" for one, other in known})
    alike = difflib.get_close_matches(f"{topic}/{sub_topic}", names, NEAREST, cutoff=0.6)
    alike += [name for name in names if name.startswith(f"{topic}/") or name.endswith(f"/{sub_topic}")]
    return list(dict.fromkeys(alike or names))[:NEAREST]


def unit_of_message(message_id: str, book: UnitBook) -> RecordedUnit | None:
    """The recorded unit that holds a message; of its parts the first."""
    blob_id, _, number = message_id.rpartition("/")
    if not number.isdecimal():
        return None
    held = [
        row
        for row in book.recorded.get(blob_id, ())
        if row.reason != ID_CONFLICT and row.message_index in (WHOLE, int(number))
    ]
    return min(held, key=lambda row: (_STATES.index(row.state), row.part), default=None)


def sought_blobs(
    message_ids: Iterable[str], book: UnitBook, kept: Mapping[str, Sequence[KeptPiece]]
) -> dict[str, SoughtBlob]:
    """What is to be read from the topic, by blob id: of messages that Postgres does not keep and nobody has erased."""
    sought = {}
    for message_id in message_ids:
        unit = unit_of_message(message_id, book)
        if unit is None or unit.state == "erased" or unit.position is None or unit.content_hash is None:
            continue
        if _kept_message(message_id, unit, kept) is not None:
            continue
        positions = likely_positions(unit.position, unit.origin)
        sought[unit.blob_id] = SoughtBlob(unit.project_id, unit.user_id, unit.blob_id, unit.content_hash, positions)
    return sought


def link_changes(rows: Iterable[HistoryRow], evidence: Evidence) -> tuple[ChangeLink, ...]:
    return tuple(ChangeLink(row, link_messages(row.message_ids, row.quotes, evidence)) for row in rows)


def link_event(project_id: str, user_id: str, event: EventRow, evidence: Evidence) -> EventChain:
    lines = tuple((gist.text, link_messages(gist.message_ids, gist.quotes, evidence)) for gist in event.gists)
    shown = {message_id for gist in event.gists for message_id in gist.message_ids}
    others = [message_id for message_id in event.message_ids if message_id not in shown]
    return EventChain(project_id, user_id, event, lines, link_messages(others, (), evidence))


def link_messages(message_ids: Iterable[str], quotes: Sequence[Quote], evidence: Evidence) -> tuple[MessageLink, ...]:
    return tuple(_link(message_id, quotes, evidence) for message_id in message_ids)


def _link(message_id: str, quotes: Sequence[Quote], evidence: Evidence) -> MessageLink:
    unit = unit_of_message(message_id, evidence.book)
    said = tuple(quote.text for quote in quotes if quote.message_id == message_id)
    link = MessageLink(message_id, said, unit)
    if unit is None:
        return replace(link, missing="unknown")
    if unit.state == "erased":
        return replace(link, missing="erased")
    if not evidence.asked:
        return replace(link, missing="not-asked")
    kept = _kept_message(message_id, unit, evidence.kept)
    if kept is not None:
        return _with_text(link, kept, "postgres")
    found = evidence.found.get(unit.blob_id)
    if found is None or found.unit is None:
        return replace(link, missing="unknown" if found is None else found.absence)
    message = next((one for one in messages_of(found.unit) if one.message_id == message_id), None)
    return _with_text(link, message, "topic")


def _with_text(link: MessageLink, message: Message | None, source: TextSource) -> MessageLink:
    if message is None or not message.content.strip():
        return replace(link, missing="no-text")
    return replace(link, message=message, source=source)


def _kept_message(message_id: str, recorded: RecordedUnit, kept: Mapping[str, Sequence[KeptPiece]]) -> Message | None:
    """The message as Postgres keeps it, its parts put together."""
    pieces = kept.get(recorded.blob_id, ())
    if recorded.position is None:
        return None
    parts = [
        (piece, message)
        for piece in pieces
        for message in messages_of(_unit_of(piece, recorded, recorded.position))
        if message.message_id == message_id
    ]
    # Sent again under other limits, it may be there whole and in parts.
    whole = next((message for piece, message in parts if piece.part == WHOLE), None)
    if whole is not None or not parts:
        return whole
    return parts[0][1]._replace(content="".join(message.content for _, message in parts))


def _unit_of(piece: KeptPiece, recorded: RecordedUnit, position: Position) -> Unit:
    occurred_at_ms = int(piece.occurred_at.timestamp() * 1000)
    return Unit(
        blob_id=piece.blob_id,
        message_index=None if piece.message_index == WHOLE else piece.message_index,
        part=None if piece.part == WHOLE else piece.part,
        content_hash=recorded.content_hash or "",
        token_count=0,
        occurred_at_ms=occurred_at_ms,
        recorded_at_ms=occurred_at_ms,
        position=position,
        origin=recorded.origin,
        content=dict(piece.content),
    )
