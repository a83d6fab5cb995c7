"""A profile as an update would leave it, between the steps that decide on it; pure."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Final, Literal

from extraction.memos import equal
from schemas.memory import Fact, OverLimit, Profile, Slot, SlotChange
from schemas.windows import MessageId

# Messages of joined slots that are named as a slot's source, the newest ones.
MAX_CARRIED_IDS: Final = 100

SlotName = tuple[str, str]
DropReason = Literal["repeated", "identical", "superseded", "older", "aborted", "invalid", "outside", "full", "empty"]
Dropped = tuple[tuple[Fact, str], ...]


@dataclass(frozen=True, slots=True)
class Entry:
    """One slot as the update leaves it; `slot` is what is stored of it, None for a new one.

    `facts` are those of this window that it holds, `joined` the other stored slots that it took in. `why` is empty
    where nothing changed.
    """

    topic: str
    sub_topic: str
    content: str
    slot: Slot | None
    facts: tuple[Fact, ...] = ()
    joined: tuple[Slot, ...] = ()
    why: str = ""

    @property
    def name(self) -> SlotName:
        return self.topic, self.sub_topic

    @property
    def stored(self) -> tuple[Slot, ...]:
        """All stored slots that its content comes from."""
        return self.joined if self.slot is None else (self.slot, *self.joined)

    @property
    def occurred_at(self) -> datetime:
        times = [slot.occurred_at for slot in self.stored] + [fact.occurred_at for fact in self.facts]
        return max(times)

    @property
    def is_changed(self) -> bool:
        """Whether it reads otherwise than what is stored."""
        return self.slot is None or self.content != self.slot.content


@dataclass(frozen=True, slots=True)
class Draft:
    """All slots after the update so far, each name once, and what becomes of the facts that none of them holds."""

    entries: tuple[Entry, ...]
    dropped: Dropped = ()
    over_limit: tuple[OverLimit, ...] = ()

    def put(
        self,
        changed: Mapping[SlotName, Entry | None],
        *,
        dropped: Iterable[tuple[Fact, str]] = (),
        over_limit: Iterable[OverLimit] = (),
    ) -> "Draft":
        """With other entries under these names; None removes one."""
        by_name: dict[SlotName, Entry | None] = {entry.name: entry for entry in self.entries}
        by_name |= changed
        return Draft(
            tuple(entry for entry in by_name.values() if entry is not None),
            (*self.dropped, *dropped),
            (*self.over_limit, *over_limit),
        )


def draft_of(profile: Profile) -> Draft:
    return Draft(tuple(Entry(slot.topic, slot.sub_topic, slot.content, slot) for slot in profile.slots))


def restated(slot: Slot, facts: Iterable[Fact]) -> Entry:
    """The slot as said again by facts that are newer."""
    return Entry(slot.topic, slot.sub_topic, slot.content, slot, tuple(facts), why="restated")


def changes_of(draft: Draft, profile: Profile) -> tuple[SlotChange, ...]:
    """One change for each slot that is not as stored.

    Deletions come last, so that whoever follows the changes holds every fact at any time, some for a moment twice.
    """
    changes = [_change(entry) for entry in draft.entries if entry.why]
    kept = {entry.name for entry in draft.entries if entry.slot is not None}
    changes.extend(
        SlotChange("d", slot.topic, slot.sub_topic, slot.content, None, "organize", slot.message_ids, slot.occurred_at)
        for slot in profile.slots
        if (slot.topic, slot.sub_topic) not in kept
    )
    return tuple(changes)


def settle(entry: Entry) -> tuple[Entry, Dropped]:
    """The entry, as unchanged where it reads as what is stored, with the facts that then changed nothing."""
    slot = entry.slot
    if slot is None or entry.joined or entry.is_changed:
        return entry, ()
    again = [fact for fact in entry.facts if fact.occurred_at > slot.occurred_at and equal(slot.content, fact.memo)]
    known = tuple((fact, "identical") for fact in entry.facts if fact not in again)
    return restated(slot, again) if again else replace(entry, facts=(), why=""), known


def _change(entry: Entry) -> SlotChange:
    return SlotChange(
        op="c" if entry.slot is None else "u",
        topic=entry.topic,
        sub_topic=entry.sub_topic,
        before=None if entry.slot is None else entry.slot.content,
        after=entry.content,
        why=entry.why,
        message_ids=_message_ids(entry),
        occurred_at=entry.occurred_at,
        joined=tuple(slot.sub_topic for slot in entry.joined),
        quotes=tuple(fact.quote for fact in entry.facts if fact.quote is not None),
    )


def _message_ids(entry: Entry) -> tuple[MessageId, ...]:
    joined = sorted(entry.joined, key=lambda slot: slot.occurred_at)
    carried = [identifier for slot in joined for identifier in slot.message_ids]
    said = [identifier for fact in entry.facts for identifier in fact.message_ids]
    return tuple(dict.fromkeys([*carried[-MAX_CARRIED_IDS:], *said]))
