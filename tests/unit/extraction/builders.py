"""Values for the extraction tests."""

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from uuid import NAMESPACE_OID, uuid4, uuid5

from schemas.conversation import Message
from schemas.memory import Fact, MemoryUpdate, Profile, Slot
from schemas.windows import MessageId
from storage.profile_writing import ProfileRow, decide_changes

START = datetime(2026, 1, 1, tzinfo=UTC)


def at(day: int) -> datetime:
    return START + timedelta(days=day)


def said(*texts: str, role: str = "user", day: int = 0) -> list[Message]:
    return [Message(MessageId(f"b{day}/{index}"), role, text, at(day)) for index, text in enumerate(texts)]


def fact(memo: str, sub_topic: str = "foods", *, topic: str = "interest", day: int = 0, index: int = 0) -> Fact:
    return Fact(topic, sub_topic, memo, (MessageId(f"b{day}/{index}"),), at(day))


def slot(content: str, sub_topic: str = "foods", *, topic: str = "interest", day: int = 0) -> Slot:
    return Slot(uuid5(NAMESPACE_OID, f"{topic}/{sub_topic}"), topic, sub_topic, content, at(day))


def profile(*slots: Slot) -> Profile:
    return Profile(1, tuple(slots))


def applied(before: Profile, update: MemoryUpdate) -> Profile:
    """The profile as storage would have it after the update."""
    rows = [_row(held) for held in before.slots]
    decided, after = decide_changes(rows, update.changes, [], START, uuid4)
    held = {(row.topic, row.sub_topic): row.content for row in rows}
    for change in update.changes:
        assert change.before == held.get((change.topic, change.sub_topic))
    assert len(decided) == len(update.changes), "a change was left out, so it was none"
    return Profile(before.revision + 1, tuple(_slot(row) for row in after))


def _row(held: Slot) -> ProfileRow:
    times = (held.occurred_at, START, START, START)
    return ProfileRow(
        held.profile_id, held.topic, held.sub_topic, held.content, held.update_hits, held.message_ids, (), *times
    )


def _slot(row: ProfileRow) -> Slot:
    message_ids = tuple(MessageId(identifier) for identifier in row.message_ids)
    return Slot(row.profile_id, row.topic, row.sub_topic, row.content, row.occurred_at, row.update_hits, message_ids)


def contents(held: Profile) -> dict[str, str]:
    return {f"{item.topic}/{item.sub_topic}": item.content for item in held.slots}


def memos(facts: Sequence[Fact]) -> dict[str, list[str]]:
    found: dict[str, list[str]] = {}
    for item in facts:
        found.setdefault(f"{item.topic}/{item.sub_topic}", []).append(item.memo)
    return found
