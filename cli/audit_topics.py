"""The checks of what is published: the topics first, then Postgres, then what came on the topics meanwhile."""

import asyncio
import zlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from datetime import datetime
from functools import partial
from typing import Final

from sqlalchemy.ext.asyncio import AsyncConnection

from cli.audit_checks import CLOCKS_APART_MS, Sources, kept_since
from cli.audit_findings import Check, Sample
from cli.audit_published import (
    Expected,
    Published,
    StateLook,
    TopicLook,
    compare_state,
    missing_changes,
    unknown_changes,
)
from storage.audit_published import (
    ChangeKey,
    ChangeKind,
    forgotten_at,
    pending_of,
    read_changes,
    read_states,
)
from storage.text import epoch_ms
from storage.user_listing import PAGE_USERS, UserKey, user_pages

# Records of a topic of which something is held at once: users are looked at in so many slices as it takes.
MAX_HELD: Final = 250_000
# Users who change all the time are looked at so often, then left open.
MAX_PASSES: Final = 6
PAUSE_S: Final = 0.5

Slice = Callable[[UserKey], bool]
Offsets = dict[int, int]


async def check_profiles(sources: Sources) -> tuple[Check, Check]:
    """The latest state of every user on `profiles` is the one in Postgres; and the states there are in order."""
    check, order = Check("profiles"), Check("change-order")
    topic = sources.topics.profiles
    for wanted in await _slices(sources, [topic]):
        look = StateLook(wanted)
        end = await _read_states(sources, look, order, None)
        async with sources.snapshot() as connection:
            doubtful = await _compare_all(connection, look, wanted, check)
        for _ in range(MAX_PASSES):
            if not doubtful:
                break
            before = {user: look.newest.get(user) for user in doubtful}
            end = await _read_states(sources, look, order, end)
            again = _settle(doubtful, before, look, check)
            doubtful = {}
            if again:
                await asyncio.sleep(PAUSE_S)
                async with sources.snapshot() as connection:
                    doubtful = await _compare_some(connection, again, look, check)
        check.unsettled += len(doubtful)
    return check, order


async def _read_states(sources: Sources, look: StateLook, order: Check, begin: Offsets | None) -> Offsets:
    """Read on to what is written by then, and return where that ended."""
    topic = sources.topics.profiles
    if begin is None:
        begin, _ = await sources.scanner.bounds(topic)
    end = await sources.scanner.written(topic)
    async for records in sources.scanner.scan(topic, begin, end, sources.silence_s):
        order.looked_at += len(records)
        for record in records:
            place = f"{record.partition}/{record.offset}"
            order.add(look.read(place, record.key, record.value, dict(record.headers)))
    return end


async def _compare_all(
    connection: AsyncConnection, look: StateLook, wanted: Slice, check: Check
) -> dict[UserKey, Expected | None]:
    """The users who look wrong, and what Postgres said of them: what was published since may tell."""
    doubtful: dict[UserKey, Expected | None] = {}
    nobody = {user for user, state in look.newest.items() if state is not None}
    async for page in user_pages(connection):
        users = [user for user in page if wanted(user)]
        check.looked_at += len(users)
        nobody.difference_update(users)
        doubtful |= await _compare(connection, users, look, check)
    for users in _pages(sorted(nobody)):
        await connection.rollback()
        doubtful |= await _compare(connection, users, look, check)
    return doubtful


async def _compare_some(
    connection: AsyncConnection, users: list[UserKey], look: StateLook, check: Check
) -> dict[UserKey, Expected | None]:
    doubtful: dict[UserKey, Expected | None] = {}
    for page in _pages(users):
        doubtful |= await _compare(connection, page, look, check)
        await connection.rollback()
    return doubtful


async def _compare(
    connection: AsyncConnection, users: list[UserKey], look: StateLook, check: Check
) -> dict[UserKey, Expected | None]:
    """Compare what the topic had before with what Postgres has; ahead is wrong, behind may be only late."""
    if not users:
        return {}
    doubtful: dict[UserKey, Expected | None] = {}
    states = await read_states(connection, users)
    nobody = [user for user in users if user not in states]
    waiting = await pending_of(connection, nobody, "profiles") if nobody else set()
    for user in users:
        state = look.newest.get(user)
        there = Expected.of(states[user]) if user in states else None
        match compare_state(there, state):
            case "ahead":
                check.add([Sample("the topic has a revision that Postgres does not know", *user)])
            case "behind":
                doubtful[user] = there
            case "unknown" if user not in waiting:
                doubtful[user] = None
            case _:
                pass
    return doubtful


def _settle(
    doubtful: dict[UserKey, Expected | None], before: dict[UserKey, Published | None], look: StateLook, check: Check
) -> list[UserKey]:
    """Judge by what came on the topic after Postgres was read; returns those who have moved on since."""
    again = []
    for user, there in doubtful.items():
        state = look.newest.get(user)
        verdict = compare_state(there, state)
        if verdict == "ahead" or (verdict == "unknown" and state != before[user]):
            again.append(user)
        elif verdict == "unknown":
            check.add([Sample("the topic has a profile of a user who is not there", *user)])
        elif verdict == "behind":
            check.add([Sample("the topic's latest state is not the one in Postgres", *user)])
    return again


async def check_changes(sources: Sources) -> tuple[Check, Check]:
    """Every change is on its topic once, or in the outbox, and none that Postgres does not know; in order."""
    check, order = Check("changes"), Check("change-order")
    kinds: dict[ChangeKind, str] = {
        "profile-updated": sources.topics.profile_updated,
        "event-updated": sources.topics.event_updated,
    }
    is_kept = await _kept_in_range(sources, kinds)
    is_in_range = _in_range(sources)
    for wanted in await _slices(sources, list(kinds.values())):
        look = TopicLook(wanted)
        ends = {kind: await _read_changes(sources, look, kind, topic, order, None) for kind, topic in kinds.items()}
        nobody = {user for users in look.users.values() for user in users}
        late: dict[UserKey, list[ChangeKey]] = {}
        async with sources.snapshot() as connection:
            async for page in user_pages(connection):
                users = [user for user in page if wanted(user)]
                nobody.difference_update(users)
                for user, there in (await read_changes(connection, users) if users else {}).items():
                    if there.has_erased:
                        check.unsettled += 1
                        continue
                    told = look.told(user)
                    check.looked_at += sum(is_kept(user, key, at) for key, at in there.recorded)
                    check.add(_sample(user, *fault) for fault in unknown_changes(there, told, is_in_range))
                    missing = missing_changes(there, {key for key, _ in told}, partial(is_kept, user))
                    if missing:
                        late[user] = missing
            for users in _pages(sorted(nobody)):
                await connection.rollback()
                gone = await forgotten_at(connection, users)
                check.add(Sample("changes of a user who is not there", *user) for user in users if user not in gone)
        if late:
            for kind, topic in kinds.items():
                await _read_changes(sources, look, kind, topic, order, ends[kind])
        for user, keys in late.items():
            found = {key for key, _ in look.told(user)}
            check.add(_sample(user, key, "is not published") for key in keys if key not in found)
    return check, order


def _sample(user: UserKey, key: ChangeKey, fault: str) -> Sample:
    return Sample(f"{key.kind}: revision {key.revision} {fault}", *user, str(key.changed_id))


async def _read_changes(
    sources: Sources, look: TopicLook, kind: ChangeKind, topic: str, order: Check, begin: Offsets | None
) -> Offsets:
    """Read on to what is written by then, and return where that ended."""
    if begin is None:
        begin, _ = await sources.scanner.bounds(topic)
        if sources.times.begin is not None:
            since_ms = int(sources.times.begin.timestamp() * 1000) - CLOCKS_APART_MS
            begin = await sources.scanner.at_time(topic, since_ms)
    end = await sources.scanner.written(topic)
    async for records in sources.scanner.scan(topic, begin, end, sources.silence_s):
        order.looked_at += len(records)
        for record in records:
            if record.value is not None:
                place = f"{record.partition}/{record.offset}"
                order.add(look.read(kind, place, record.value, dict(record.headers)))
    return end


async def _kept_in_range(
    sources: Sources, kinds: Mapping[ChangeKind, str]
) -> Callable[[UserKey, ChangeKey, datetime], bool]:
    kept = {kind: await kept_since(sources, topic) for kind, topic in kinds.items()}
    is_in_range = _in_range(sources)

    def is_kept(user: UserKey, key: ChangeKey, at: datetime) -> bool:
        at_ms = epoch_ms(at)
        return is_in_range(at_ms) and at_ms >= kept[key.kind](f"{user[0]}/{user[1]}".encode())

    return is_kept


def _in_range(sources: Sources) -> Callable[[int], bool]:
    begin, end = sources.times.begin, sources.times.end
    low = 0 if begin is None else epoch_ms(begin)
    high = 1 << 62 if end is None else epoch_ms(end)
    return lambda at_ms: low <= at_ms < high


async def _slices(sources: Sources, topics: Sequence[str]) -> list[Slice]:
    """So many parts of all users that what is held of one is bounded; each has its own look at the topics."""
    records = 0
    for topic in topics:
        first, end = await sources.scanner.bounds(topic)
        records += sum(end[number] - first[number] for number in end)
    number = max(1, -(-records // MAX_HELD))
    return [partial(_is_in_slice, part, number) for part in range(number)]


def _is_in_slice(part: int, parts: int, user: UserKey) -> bool:
    return parts == 1 or zlib.crc32("/".join(user).encode()) % parts == part


def _pages(users: list[UserKey]) -> Iterator[list[UserKey]]:
    for start in range(0, len(users), PAGE_USERS):
        yield users[start : start + PAGE_USERS]
