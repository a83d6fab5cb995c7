"""What becomes of a user's memory when a shadow takes its place: pure."""

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

from storage.profile_writing import ProfileRow
from storage.shadow_comparing import BothSides, SlotEdit

# `kept`: what somebody has edited by hand, which a promotion leaves as it is.
Difference = Literal["added", "removed", "changed", "same", "kept"]
SlotKey = tuple[str, str]


@dataclass(frozen=True, slots=True)
class SlotDiff:
    """A slot on both sides, None where it is empty."""

    kind: Difference
    topic: str
    sub_topic: str
    live: str | None
    shadow: str | None


@dataclass(frozen=True, slots=True)
class DiffCounts:
    """Slots by what becomes of them, events on both sides, and blobs that only the shadow has parked."""

    users: int = 0
    added: int = 0
    removed: int = 0
    changed: int = 0
    same: int = 0
    kept: int = 0
    live_events: int = 0
    shadow_events: int = 0
    parked: int = 0

    def __add__(self, other: "DiffCounts") -> "DiffCounts":
        return DiffCounts(*(getattr(self, name) + getattr(other, name) for name in self.__slots__))

    @property
    def differences(self) -> int:
        """Slots that read otherwise afterwards."""
        return self.added + self.removed + self.changed


@dataclass(frozen=True, slots=True)
class UserDiff:
    """A user's memory on both sides, slot by slot."""

    project_id: str
    user_id: str
    slots: Sequence[SlotDiff]
    parked: Sequence[tuple[str, str]]
    counts: DiffCounts


def diff_of(project_id: str, user_id: str, sides: BothSides) -> UserDiff:
    """Compare; slots by topic and sub-topic."""
    slots = compare_slots(sides.live, sides.shadow, sides.edits)
    found: Mapping[Difference, int] = Counter(slot.kind for slot in slots)
    counts = DiffCounts(
        users=1,
        added=found["added"],
        removed=found["removed"],
        changed=found["changed"],
        same=found["same"],
        kept=found["kept"],
        live_events=sides.live_events,
        shadow_events=sides.shadow_events,
        parked=len(sides.parked),
    )
    return UserDiff(project_id, user_id, slots, sides.parked, counts)


def compare_slots(
    live: Iterable[ProfileRow], shadow: Iterable[ProfileRow], edits: Iterable[SlotEdit]
) -> list[SlotDiff]:
    """Every slot that holds something on one side, or was edited by hand and holds something in the shadow.

    What was edited by hand stands, unless what the shadow has there was said later.
    """
    before = {(row.topic, row.sub_topic): row for row in live}
    after = {(row.topic, row.sub_topic): row for row in shadow}
    by_hand = {(edit.topic, edit.sub_topic): edit for edit in edits}
    found = []
    for slot in sorted(before.keys() | after.keys()):
        held, new = before.get(slot), after.get(slot)
        kind = _kind(held, new)
        edit = by_hand.get(slot)
        if edit is not None and kind != "same" and (new is None or new.occurred_at <= edit.occurred_at):
            kind = "kept"
        texts = (None if row is None else row.content for row in (held, new))
        found.append(SlotDiff(kind, *slot, *texts))
    return found


def _kind(held: ProfileRow | None, new: ProfileRow | None) -> Difference:
    if held is None:
        return "added"
    if new is None:
        return "removed"
    return "same" if held.content == new.content else "changed"


def sampled(diff: UserDiff, limit: int) -> list[SlotDiff]:
    """The first slots that read otherwise afterwards, each kind in its turn, so that one does not hide the others."""
    kinds: Sequence[Difference] = ("changed", "added", "removed", "kept")
    of_kind = [[slot for slot in diff.slots if slot.kind == kind] for kind in kinds]
    turns = ((turn, number) for turn in range(max(map(len, of_kind), default=0)) for number in range(len(kinds)))
    found = [of_kind[number][turn] for turn, number in turns if turn < len(of_kind[number])]
    return found[:limit]
