"""Events edited by hand: what is written by hand stands in the event, in its lines, and nowhere what it replaced."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any
from uuid import UUID

from sqlalchemy import bindparam, delete, insert, update

from storage.browsing import EventRow, GistRow, read_event
from storage.editing import Editing, Edits
from storage.tables import events, gists


@dataclass(frozen=True, slots=True)
class EventText:
    """What an event says: a summary, and line by line."""

    summary: str | None
    lines: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class EventEdit:
    """What is to stand in an event; None leaves what there is. Tags and facts are in Memobase's shapes."""

    text: EventText | None = None
    tags: Sequence[Mapping[str, str]] | None = None
    profile_delta: Sequence[Mapping[str, Any]] | None = None


def edited(event: EventRow, edit: EventEdit, now: datetime, new_id: Callable[[], UUID]) -> EventRow:
    """The event with the edit; itself, where it says all that already.

    A line that stays keeps its id and its messages; a new one has none, and was said when the event happened.
    """
    after = event
    if edit.text is not None:
        after = replace(after, summary=edit.text.summary, gists=_with_lines(event, edit.text.lines, new_id))
    if edit.tags is not None:
        after = replace(after, tags=list(edit.tags))
    if edit.profile_delta is not None:
        after = replace(after, profile_delta=_with_facts(event, edit.profile_delta))
    return event if after == event else replace(after, updated_at=now)


def _with_lines(event: EventRow, lines: Sequence[str], new_id: Callable[[], UUID]) -> tuple[GistRow, ...]:
    left = list(event.gists)
    found = []
    for line in lines:
        gist = next((gist for gist in left if gist.text == line), None)
        if gist is None:
            gist = GistRow(new_id(), line, (), event.occurred_at)
        else:
            left.remove(gist)
        found.append(gist)
    return tuple(found)


def _with_facts(event: EventRow, facts: Sequence[Mapping[str, Any]]) -> list[Mapping[str, Any]]:
    """A fact that stays keeps its messages, which callers need not name."""
    known = [(fact["content"], fact["attributes"], fact) for fact in event.profile_delta]
    return [
        next((held for content, slot, held in known if (content, slot) == (fact["content"], fact["attributes"])), fact)
        for fact in facts
    ]


async def change_event(edits: Edits, project_id: str, user_id: str, event_id: UUID, edit: EventEdit) -> bool:
    """Make an event say something else, at once; False where there is no such event.

    A trigger takes the embedding of another summary away, so that it is not found by what it said before.
    """
    editing = await edits.begin(project_id, user_id)
    if editing is None:
        return False
    before = await read_event(editing.connection, project_id, user_id, event_id)
    if before is None:
        return False
    after = edited(before, edit, editing.now, edits.new_id)
    if after is before:
        return True
    after = replace(after, revision=editing.revision)
    await editing.connection.execute(
        update(events)
        .where(events.c.event_id == event_id)
        .values(
            summary=after.summary,
            tags=list(after.tags),
            profile_delta=list(after.profile_delta),
            revision=after.revision,
            updated_at=after.updated_at,
        )
    )
    if after.gists != before.gists:
        await _write_gists(editing, event_id, before.gists, after.gists)
    await editing.record("event", "u", _document(before), _document(after), event_id)
    editing.outgoing.event_changed("u", before.published(), after.published(), editing.revision, editing.source)
    await editing.finish()
    return True


async def remove_event(edits: Edits, project_id: str, user_id: str, event_id: UUID) -> bool:
    """Take an event out, with its lines; False where there is no such event."""
    editing = await edits.begin(project_id, user_id)
    if editing is None:
        return False
    before = await read_event(editing.connection, project_id, user_id, event_id)
    if before is None:
        return False
    await editing.connection.execute(delete(events).where(events.c.event_id == event_id))
    await editing.record("event", "d", _document(before), None, event_id)
    editing.outgoing.event_changed("d", before.published(), None, editing.revision, editing.source)
    await editing.finish(shrinks=True)
    return True


async def _write_gists(editing: Editing, event_id: UUID, before: Sequence[GistRow], after: Sequence[GistRow]) -> None:
    """Remove, move and add lines; those that stay keep their embeddings."""
    numbers = {gist.gist_id: number for number, gist in enumerate(before)}
    stay = {gist.gist_id for gist in after}
    gone = [identifier for identifier in numbers if identifier not in stay]
    if gone:
        await editing.connection.execute(delete(gists).where(gists.c.gist_id.in_(gone)))
    moved = [
        {"moved_id": gist.gist_id, "moved_to": number}
        for number, gist in enumerate(after)
        if numbers.get(gist.gist_id, number) != number
    ]
    if moved:
        move = update(gists).where(gists.c.gist_id == bindparam("moved_id")).values(number=bindparam("moved_to"))
        await editing.connection.execute(move, moved)
    added = [
        {
            "project_id": editing.user.project_id,
            "user_id": editing.user.user_id,
            "generation": editing.user.live_generation,
            "gist_id": gist.gist_id,
            "event_id": event_id,
            "number": number,
            "text": gist.text,
            "message_ids": [],
            "quotes": [],
            "occurred_at": gist.occurred_at,
            "recorded_at": editing.now,
        }
        for number, gist in enumerate(after)
        if gist.gist_id not in numbers
    ]
    if added:
        await editing.connection.execute(insert(gists), added)


def _document(event: EventRow) -> Any:
    """As the history keeps it: what is published, and the facts."""
    return {**event.published().model_dump(mode="json"), "profile_delta": list(event.profile_delta)}
