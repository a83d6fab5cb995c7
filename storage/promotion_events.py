"""The events that a user has once a shadow is promoted: the shadow's, but for those that were edited by hand. Pure."""

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any
from uuid import UUID

from schemas.memory import ChangeOp
from storage.browsing import EventRow


@dataclass(frozen=True, slots=True)
class EventEditRow:
    """An edit of an event, as the history has it; `before` and `after` are None where a blob of it was deleted."""

    event_id: UUID
    op: ChangeOp
    before: Mapping[str, Any] | None
    after: Mapping[str, Any] | None


@dataclass(frozen=True, slots=True)
class PromotedEvents:
    """What becomes of the rows of `events`.

    `kept` are live events that come along as they are, `dropped` those of the shadow that go. `same` has the live
    events that say what one of the shadow says, which they take the place of: they come along, too. `created` and
    `deleted` are what is published.
    """

    kept: tuple[UUID, ...]
    same: Mapping[UUID, UUID]
    dropped: tuple[UUID, ...]
    created: tuple[EventRow, ...]
    deleted: tuple[EventRow, ...]


def decide_events(
    live: Sequence[EventRow], shadow: Sequence[EventRow], edits: Iterable[EventEditRow]
) -> PromotedEvents:
    """Put events that were edited by hand in the place of the shadow's that share a message with them.

    What was removed by hand takes those of the shadow along; `edits` come in their order.
    """
    newest = {edit.event_id: edit for edit in edits}
    kept = [
        event
        for event in live
        if event.updated_at is not None or (event.event_id in newest and newest[event.event_id].op != "d")
    ]
    by_hand = {identifier for event in kept for identifier in event.message_ids}
    for edit in newest.values():
        if edit.op == "d" and edit.before is not None:
            by_hand.update(edit.before["message_ids"])
    dropped = [event for event in shadow if not by_hand.isdisjoint(event.message_ids)]
    stays = {event.event_id for event in kept}
    same = _pairs(
        [event for event in live if event.event_id not in stays],
        [event for event in shadow if event not in dropped],
    )
    paired = set(same.values())
    gone = {event.event_id for event in dropped}
    return PromotedEvents(
        kept=tuple(event.event_id for event in kept),
        same=same,
        dropped=tuple(event.event_id for event in dropped),
        created=tuple(event for event in shadow if event.event_id not in paired | gone),
        deleted=tuple(event for event in live if event.event_id not in stays | same.keys()),
    )


def _pairs(live: Iterable[EventRow], shadow: Iterable[EventRow]) -> dict[UUID, UUID]:
    """Live events, and the shadow's that say the same, each once."""
    open_ones: dict[tuple[str, ...], list[EventRow]] = {}
    for event in shadow:
        open_ones.setdefault(event.message_ids, []).append(event)
    found: dict[UUID, UUID] = {}
    for event in live:
        candidates: Collection[EventRow] = open_ones.get(event.message_ids, ())
        twin = next((other for other in candidates if _said(other) == _said(event)), None)
        if twin is not None:
            open_ones[event.message_ids].remove(twin)
            found[event.event_id] = twin.event_id
    return found


def _said(event: EventRow) -> dict[str, Any]:
    """All that is published of an event, but for which one it is and when memory took it."""
    return event.published().model_dump(exclude={"id", "recorded_at"})
