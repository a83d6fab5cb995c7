"""The profile that a user has once a shadow is promoted: the shadow's, with what was edited by hand on top. Pure."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from uuid import UUID

from storage.browsing import HistoryRow
from storage.editing_profiles import ADDED, SlotKey
from storage.profile_writing import MAX_MESSAGE_IDS, ProfileRow
from storage.reading import EDITED, REMOVED
from storage.shadow_comparing import BY_HAND


@dataclass(frozen=True, slots=True)
class PromotedProfile:
    """What becomes of the rows of `profiles` and `profile_history`.

    `rows` is the profile afterwards, by topic and sub-topic. `dropped` are rows of the shadow that go, and `renamed`
    has the ids that its other entries, and its history, get in place of theirs. `kept` are live rows that come along
    as they are, `written` are rows that neither side has. History of the live memory is `copied`, by number and the id
    of the entry that it is told of, and after that come those of the shadow's rows that are `moved`.
    """

    rows: tuple[ProfileRow, ...]
    dropped: tuple[UUID, ...] = ()
    renamed: Mapping[UUID, UUID] = field(default_factory=dict)
    kept: tuple[UUID, ...] = ()
    written: tuple[ProfileRow, ...] = ()
    copied: tuple[tuple[int, UUID], ...] = ()
    moved: tuple[int, ...] = ()


def newest_edits(history: Iterable[HistoryRow]) -> dict[SlotKey, HistoryRow]:
    """The last edit of each slot that has any, of history in its order.

    Where a deleted blob has left nothing of what an edit said, the slot has none any more.
    """
    found: dict[SlotKey, HistoryRow] = {}
    for row in history:
        if row.extractor is not None or row.why not in BY_HAND:
            continue
        slot = (row.topic, row.sub_topic)
        if row.after is None and row.why != REMOVED:
            found.pop(slot, None)
        else:
            found[slot] = row
    return found


def decide_profile(
    live: Iterable[ProfileRow],
    shadow: Iterable[ProfileRow],
    edited: Sequence[HistoryRow],
    shadow_history: Sequence[HistoryRow],
    new_id: Callable[[], UUID],
) -> PromotedProfile:
    """Put edits by hand on top of a shadow's profile.

    `edited` is the live history of all entries with an edit, `shadow_history` that of the shadow, both in their order.
    The newest edit of a slot stands unless the shadow's value was said later. An entry keeps its live id where its slot
    has one, else the one that was edited does.
    """
    live_slots = {(row.topic, row.sub_topic): row for row in live}
    shadow_slots = {(row.topic, row.sub_topic): row for row in shadow}
    edits = newest_edits(edited)
    standing = {
        slot: edit
        for slot, edit in edits.items()
        if slot not in shadow_slots or shadow_slots[slot].occurred_at <= edit.occurred_at
    }
    slots = [slot for slot in shadow_slots if slot not in standing]
    slots += [slot for slot, edit in standing.items() if edit.after is not None]
    ids = _choose_ids(slots, live_slots, standing, shadow_slots, new_id)

    rows, kept, written, dropped = [], [], [], []
    renamed: dict[UUID, UUID] = {}
    for slot in slots:
        former, edit = shadow_slots.get(slot), standing.get(slot)
        if former is not None and former.profile_id != ids[slot]:
            renamed[former.profile_id] = ids[slot]
        if edit is None:
            rows.append(replace(shadow_slots[slot], profile_id=ids[slot]))
            continue
        if former is not None:
            dropped.append(former.profile_id)
        there = live_slots.get(slot)
        if there is not None and there.content == edit.after:
            kept.append(there.profile_id)
            rows.append(there)
        else:
            row = _written(edit, ids[slot], _told_by(edit, edited))
            written.append(row)
            rows.append(row)
    dropped += [
        shadow_slots[slot].profile_id for slot, edit in standing.items() if edit.after is None and slot in shadow_slots
    ]

    copied: dict[tuple[int, UUID], None] = {}
    moved: list[int] = []
    for slot, edit in edits.items():
        former = shadow_slots.get(slot)
        told_of = ids.get(slot) or (edit.profile_id if former is None else former.profile_id)
        copied.update({(row.history_id, told_of): None for row in _told_by(edit, edited)})
        if former is not None and slot not in standing:
            moved += _said_after(edit, [row for row in shadow_history if row.profile_id == former.profile_id])
    return PromotedProfile(
        rows=tuple(sorted(rows, key=lambda row: (row.topic, row.sub_topic))),
        dropped=tuple(dropped),
        renamed=renamed,
        kept=tuple(kept),
        written=tuple(written),
        copied=tuple(sorted(copied, key=lambda item: item[0])),
        moved=tuple(sorted(moved)),
    )


def _choose_ids(
    slots: Sequence[SlotKey],
    live: Mapping[SlotKey, ProfileRow],
    standing: Mapping[SlotKey, HistoryRow],
    shadow: Mapping[SlotKey, ProfileRow],
    new_id: Callable[[], UUID],
) -> dict[SlotKey, UUID]:
    ids = {slot: live[slot].profile_id for slot in slots if slot in live}
    taken = set(ids.values())
    for slot in slots:
        if slot in ids:
            continue
        wanted = [standing[slot].profile_id] if slot in standing else []
        wanted += [shadow[slot].profile_id] if slot in shadow else []
        ids[slot] = next((one for one in wanted if one not in taken), None) or new_id()
        taken.add(ids[slot])
    return ids


def _told_by(edit: HistoryRow, edited: Iterable[HistoryRow]) -> list[HistoryRow]:
    """The history that an edit needs to be told.

    What was moved, or was added to, says what messages said: these must be known when a blob of theirs is deleted.
    """
    is_rewritten = (edit.op, edit.why) == ("u", EDITED) or (edit.op, edit.why) == ("c", ADDED)
    if edit.after is None or is_rewritten:
        return [edit]
    return [row for row in edited if row.profile_id == edit.profile_id and row.history_id <= edit.history_id]


def _written(edit: HistoryRow, profile_id: UUID, told: Sequence[HistoryRow]) -> ProfileRow:
    cited = dict.fromkeys(identifier for row in told for identifier in row.message_ids)
    return ProfileRow(
        profile_id=profile_id,
        topic=edit.topic,
        sub_topic=edit.sub_topic,
        content=edit.after or "",
        update_hits=0,
        message_ids=tuple(cited)[-MAX_MESSAGE_IDS:],
        window_ids=(),
        occurred_at=edit.occurred_at,
        recorded_at=edit.recorded_at,
        created_at=told[0].recorded_at,
        updated_at=edit.recorded_at,
    )


def _said_after(edit: HistoryRow, history: Sequence[HistoryRow]) -> list[int]:
    """The rows of an entry from the first on that was said after the edit."""
    first = next((number for number, row in enumerate(history) if row.occurred_at > edit.occurred_at), len(history))
    return [row.history_id for row in history[first:]]
