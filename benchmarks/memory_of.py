"""Conversations through windows, extraction and merge into profiles, in one process without a broker or a database."""

import asyncio
from collections import Counter, defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from uuid import uuid4

from extraction.factory import create_extractor
from extraction.protocol import Extractor
from schemas.conversation import conversation_of
from schemas.errors import MemostreamError
from schemas.memory import Profile, Slot, Usage
from schemas.policies import policy_of
from schemas.settings import Settings
from schemas.windows import MessageId, Window
from storage.profile_writing import ProfileRow, decide_changes
from tests.support.expected_memory import windows_of


@dataclass(slots=True)
class Remembered:
    """What is stored at the end, and what it took; `failed` counts windows by the error that ended them."""

    profiles: dict[str, list[ProfileRow]] = field(default_factory=dict)
    windows: int = 0
    failed: Counter[str] = field(default_factory=Counter)
    dropped: Counter[str] = field(default_factory=Counter)
    usage: Usage = field(default_factory=Usage)


async def remember(lines: Iterable[bytes], settings: Settings) -> Remembered:
    """Records of `chat-messages`, in their order, cut into windows as the buffer does, each user's one after the other.

    A window whose extraction fails is counted and left out: to hold it, as a worker does, would take a database.
    """
    by_user: defaultdict[str, list[Window]] = defaultdict(list)
    for window in windows_of(lines, settings.buffer):
        by_user[window.user_id].append(window)
    found = Remembered()
    extractor = create_extractor(settings)
    gate = asyncio.Semaphore(settings.extraction.concurrency)

    async def remember_user(user_id: str, windows: Sequence[Window]) -> None:
        async with gate:
            rows: list[ProfileRow] = []
            for window in windows:
                rows = await _applied(window, rows, extractor, settings, found)
            found.profiles[user_id] = rows

    try:
        await asyncio.gather(*(remember_user(*item) for item in by_user.items()))
    finally:
        await extractor.close()
    return found


async def _applied(
    window: Window, rows: list[ProfileRow], extractor: Extractor, settings: Settings, found: Remembered
) -> list[ProfileRow]:
    found.windows += 1
    profile, policy = Profile(1, tuple(map(_slot, rows))), policy_of(settings)
    try:
        extraction = await extractor.extract(conversation_of(window.units), profile, policy)
        update = await extractor.merge(extraction, profile, policy)
    except MemostreamError as error:
        found.failed[type(error).__name__] += 1
        return rows
    found.usage += update.usage
    found.dropped.update(reason for _, reason in update.dropped)
    _, after = decide_changes(rows, update.changes, [window.window_id], datetime.now(UTC), uuid4)
    return after


def _slot(row: ProfileRow) -> Slot:
    message_ids = tuple(MessageId(identifier) for identifier in row.message_ids)
    return Slot(row.profile_id, row.topic, row.sub_topic, row.content, row.occurred_at, row.update_hits, message_ids)
