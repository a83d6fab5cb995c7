"""Profile entries edited by hand. What is written by hand was said now, and rests on no message."""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Final
from uuid import UUID

from schemas.memory import ChangeOp, SlotChange
from storage.editing import Editing, Edits, Taken
from storage.profile_writing import DecidedChange, ProfileRow, read_rows, write_changes
from storage.reading import EDITED, REMOVED

# In the history, in place of extraction's reasons; what is added stands beside what was said before.
ADDED: Final = "added"

SlotKey = tuple[str, str]


@dataclass(frozen=True, slots=True)
class ProfileEdit:
    """An entry before and after, and the history rows that tell it: two where it moves to another slot."""

    before: ProfileRow | None
    after: ProfileRow | None
    history: tuple[DecidedChange, ...]

    @property
    def row(self) -> ProfileRow:
        row = self.after or self.before
        if row is None:
            raise ValueError("an edit has an entry before or after it")
        return row


def added(
    rows: Iterable[ProfileRow],
    slot: SlotKey,
    content: str,
    join: Callable[[str, str], str],
    now: datetime,
    new_id: Callable[[], UUID],
) -> ProfileEdit:
    """A statement put into a slot; where that holds something, `join(held, content)` is what it holds then.

    What stays of an occupied slot rests on its messages still.
    """
    held = _entry(rows, lambda row: (row.topic, row.sub_topic) == slot)
    if held is None:
        after = ProfileRow(
            profile_id=new_id(),
            topic=slot[0],
            sub_topic=slot[1],
            content=content,
            update_hits=0,
            message_ids=(),
            window_ids=(),
            occurred_at=now,
            recorded_at=now,
            created_at=now,
            updated_at=now,
        )
        return ProfileEdit(None, after, (_decided(None, after, now, ADDED),))
    joined = join(held.content, content)
    after = _rewritten(held, joined, now)
    if joined != content:
        after = replace(after, message_ids=held.message_ids, window_ids=held.window_ids)
    return _update(held, after, now, ADDED)


def changed(
    rows: Sequence[ProfileRow], profile_id: UUID, content: str, slot: SlotKey | None, now: datetime
) -> ProfileEdit | None:
    """An entry with other content, in another slot where one is named; None where there is no such entry.

    Raises Taken if another entry stands in that slot.
    """
    before = _entry(rows, lambda row: row.profile_id == profile_id)
    if before is None:
        return None
    slot = slot or (before.topic, before.sub_topic)
    other = _entry(rows, lambda row: (row.topic, row.sub_topic) == slot and row is not before)
    if other is not None:
        raise Taken("another entry of the profile has this topic and sub_topic: delete or change that one first")
    after = before if before.content == content else _rewritten(before, content, now)
    if slot != (before.topic, before.sub_topic):
        after = replace(after, topic=slot[0], sub_topic=slot[1], updated_at=now)
    return _update(before, after, now, EDITED)


def removed(rows: Iterable[ProfileRow], profile_id: UUID, now: datetime) -> ProfileEdit | None:
    """An entry taken out; None where there is no such entry."""
    before = _entry(rows, lambda row: row.profile_id == profile_id)
    return None if before is None else ProfileEdit(before, None, (_decided(before, None, now, REMOVED),))


async def add_entry(
    edits: Edits,
    project_id: str,
    user_id: str,
    slot: SlotKey,
    content: str,
    join: Callable[[str, str], str],
) -> UUID:
    """Put a statement into a slot, and return the id of its entry; makes the user's row when it is missing."""
    editing = await edits.begin_anew(project_id, user_id)
    rows = await read_rows(editing.connection, editing.user)
    edit = added(rows, slot, content, join, editing.now, edits.new_id)
    await _write(editing, rows, edit)
    return edit.row.profile_id


async def change_entry(
    edits: Edits, project_id: str, user_id: str, profile_id: UUID, content: str, slot: SlotKey | None
) -> bool:
    """Give an entry other content, and another slot where one is named; False where there is no such entry.

    Raises Taken if another entry stands in that slot.
    """
    editing = await edits.begin(project_id, user_id)
    if editing is None:
        return False
    rows = await read_rows(editing.connection, editing.user)
    edit = changed(rows, profile_id, content, slot, editing.now)
    if edit is None:
        return False
    await _write(editing, rows, edit)
    return True


async def remove_entry(edits: Edits, project_id: str, user_id: str, profile_id: UUID) -> bool:
    """Take an entry out; False where there is no such entry."""
    editing = await edits.begin(project_id, user_id)
    if editing is None:
        return False
    rows = await read_rows(editing.connection, editing.user)
    edit = removed(rows, profile_id, editing.now)
    if edit is None:
        return False
    await _write(editing, rows, edit)
    return True


async def _write(editing: Editing, rows: Iterable[ProfileRow], edit: ProfileEdit) -> None:
    if not edit.history:
        return
    before, after, outgoing = edit.before, edit.after, editing.outgoing
    await write_changes(
        editing.connection,
        editing.user,
        edit.history,
        revision=editing.revision,
        extractor=None,
        window_ids=(),
        now=editing.now,
    )
    outgoing.profile_changed(
        "c" if before is None else "d" if after is None else "u",
        None if before is None else before.entry(),
        None if after is None else after.entry(),
        editing.revision,
        editing.source,
    )
    profile = [row for row in rows if row is not before]
    if after is not None:
        profile.append(after)
    profile.sort(key=lambda row: (row.topic, row.sub_topic))
    outgoing.profile_state(editing.revision, [row.entry() for row in profile])
    await editing.finish(shrinks=after is None)


def _entry(rows: Iterable[ProfileRow], wanted: Callable[[ProfileRow], bool]) -> ProfileRow | None:
    return next((row for row in rows if wanted(row)), None)


def _rewritten(row: ProfileRow, content: str, now: datetime) -> ProfileRow:
    return replace(
        row,
        content=content,
        update_hits=row.update_hits + 1,
        message_ids=(),
        window_ids=(),
        occurred_at=now,
        recorded_at=now,
        updated_at=now,
    )


def _update(before: ProfileRow, after: ProfileRow, now: datetime, why: str) -> ProfileEdit:
    is_moved = (before.topic, before.sub_topic) != (after.topic, after.sub_topic)
    if not is_moved and before.content == after.content:
        return ProfileEdit(before, before, ())
    if not is_moved:
        return ProfileEdit(before, after, (_decided(before, after, now, why),))
    # A slot's history ends where its entry leaves it, and says in the new slot where it came from.
    came_from = (before.sub_topic,) if before.topic == after.topic else ()
    left, entered = _decided(before, None, now, REMOVED), _decided(None, after, now, why, came_from)
    return ProfileEdit(before, after, (left, entered))


def _decided(
    before: ProfileRow | None, after: ProfileRow | None, now: datetime, why: str, joined: tuple[str, ...] = ()
) -> DecidedChange:
    row = after or before
    if row is None:
        raise ValueError("an edit has a row before or after it")
    op: ChangeOp = "c" if before is None else "d" if after is None else "u"
    held, holds = (None if side is None else side.content for side in (before, after))
    change = SlotChange(op, row.topic, row.sub_topic, held, holds, why, (), now, joined)
    return DecidedChange(op, before, after, change)
