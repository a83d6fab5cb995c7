"""Values for the extraction tests."""

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from uuid import NAMESPACE_OID, uuid5

from schemas.conversation import Message
from schemas.memory import Fact, MemoryUpdate, Profile, Slot
from schemas.windows import MessageId

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
    slots = {(held.topic, held.sub_topic): held for held in before.slots}
    for change in update.changes:
        held = slots.get((change.topic, change.sub_topic))
        assert change.before == (held.content if held else None)
        assert change.after is not None
        slots[change.topic, change.sub_topic] = Slot(
            uuid5(NAMESPACE_OID, f"{change.topic}/{change.sub_topic}"),
            change.topic,
            change.sub_topic,
            change.after,
            change.occurred_at,
        )
    return Profile(before.revision + 1, tuple(slots.values()))


def contents(held: Profile) -> dict[str, str]:
    return {f"{item.topic}/{item.sub_topic}": item.content for item in held.slots}


def memos(facts: Sequence[Fact]) -> dict[str, list[str]]:
    found: dict[str, list[str]] = {}
    for item in facts:
        found.setdefault(f"{item.topic}/{item.sub_topic}", []).append(item.memo)
    return found
