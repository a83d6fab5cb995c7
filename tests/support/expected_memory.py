"""What memory should hold after some records: the same pure steps in one process, with no broker and no database."""

from collections import defaultdict
from collections.abc import Iterable
from datetime import UTC, datetime
from uuid import UUID

import orjson

from extraction.factory import create_extractor
from schemas.conversation import conversation_of
from schemas.memory import MemoryUpdate, Profile, Slot
from schemas.policies import policy_of
from schemas.records import parse_record
from schemas.settings import BufferSettings, Settings
from schemas.windows import Window, decode_window
from streams.buffer_state import PartitionState
from streams.buffer_store import MemoryPartitionStore
from streams.buffering import BufferContext, close, handle
from streams.raw_records import Effects
from streams.windowing import WindowPolicy
from tests.support.buffer_step import context, raw

NOBODY = UUID(int=0)
Facts = set[tuple[str, str, str, str]]


def windows_of(lines: Iterable[bytes], buffer: BufferSettings) -> list[Window]:
    """The windows of records sent in this order, all tails flushed at the end."""
    state, effects = PartitionState(MemoryPartitionStore()), Effects()
    limits: BufferContext = context(WindowPolicy.from_settings(buffer))
    now_ms = int(datetime.now(UTC).timestamp() * 1000)
    for offset, line in enumerate(lines):
        user_id = parse_record(orjson.loads(line)).user_id
        handle(raw(line, offset, key=user_id.encode(), timestamp_ms=now_ms), state, limits, effects)
    for key in sorted(state.heads):
        close(key, "flush", 0, state, limits, effects)
    decoded = (decode_window(sent.value) for sent in effects.outgoing if sent.destination == "extraction_windows")
    return [window for window in decoded if isinstance(window, Window)]


async def expected_facts(lines: Iterable[bytes], settings: Settings) -> Facts:
    """(user, topic, sub-topic, content) of every profile entry, by the offline extractor."""
    extractor = create_extractor(settings)
    policy = policy_of(settings)
    profiles: defaultdict[str, Profile] = defaultdict(Profile)
    for window in windows_of(lines, settings.buffer):
        profile = profiles[window.user_id]
        extraction = await extractor.extract(conversation_of(window.units), profile, policy)
        update = await extractor.merge(extraction, profile, policy)
        profiles[window.user_id] = _updated(profile, update)
    return {
        (user_id, slot.topic, slot.sub_topic, slot.content)
        for user_id, profile in profiles.items()
        for slot in profile.slots
    }


def _updated(profile: Profile, update: MemoryUpdate) -> Profile:
    slots = {(slot.topic, slot.sub_topic): slot for slot in profile.slots}
    for change in update.changes:
        key = change.topic, change.sub_topic
        if change.after is None:
            slots.pop(key)
        else:
            slots[key] = Slot(NOBODY, *key, content=change.after, occurred_at=change.occurred_at)
    return Profile(profile.revision + 1, tuple(slots.values()))
