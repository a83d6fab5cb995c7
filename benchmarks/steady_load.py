"""Records at a fixed rate, and when each was committed by the buffer and came out as a change."""

import asyncio
import time
from bisect import bisect_right
from collections import defaultdict
from collections.abc import AsyncIterator, Iterator, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from itertools import count, pairwise
from typing import Final

import orjson
from aiokafka import AIOKafkaConsumer, AIOKafkaProducer
from aiokafka.admin import AIOKafkaAdminClient
from aiokafka.coordinator.protocol import ConsumerProtocol
from aiokafka.structs import RecordMetadata

from benchmarks.conversations import conversations
from schemas.settings import KafkaSettings
from storage.outbox import slot_of
from streams.clients import admin, consumer, producer
from streams.topics import Topics

USERS: Final = 120
# About as many records as a window of 1,024 tokens has, by the estimate.
WINDOW_RECORDS: Final = 19
TICK_S: Final = 0.02
POLL_S: Final = 0.05

Place = tuple[int, int]
Part = tuple[str, int]


@dataclass(slots=True)
class Seen:
    """By the clock of this process. A place is a partition of chat-messages and an offset.

    `moves` has by group and partition when the committed offset was seen to have moved, and `reached` to where.
    """

    sent_s: dict[Place, float] = field(default_factory=dict)
    changed_s: dict[Place, float] = field(default_factory=dict)
    moves: dict[Part, list[float]] = field(default_factory=lambda: defaultdict(list))
    reached: dict[Part, list[int]] = field(default_factory=lambda: defaultdict(list))
    shard_changes: dict[int, list[float]] = field(default_factory=lambda: defaultdict(list))

    def committed(self, part: Part, next_offset: int, now_s: float) -> None:
        """The committed offset is this now."""
        reached = self.reached[part]
        if next_offset > (reached[-1] if reached else 0):
            reached.append(next_offset)
            self.moves[part].append(now_s)

    def committed_s(self, group: str) -> dict[Place, float]:
        """When the offset behind each record was seen committed."""
        found: dict[Place, float] = {}
        for place in self.sent_s:
            part = (group, place[0])
            at = bisect_right(self.reached[part], place[1])
            if at < len(self.reached[part]):
                found[place] = self.moves[part][at]
        return found

    def delays_s(self, done_s: Mapping[Place, float], begin_s: float, end_s: float) -> list[float]:
        """Of what was sent in this time and is done; what somebody else had sent before may be done, too."""
        return [
            done - self.sent_s[place]
            for place, done in done_s.items()
            if place in self.sent_s and begin_s <= self.sent_s[place] < end_s
        ]


def resumed_after_s(times_s: Sequence[float], since_s: float) -> float:
    """Seconds from `since_s` to the end of the longest pause that followed; raises ValueError if nothing did.

    What was on its way already comes a moment after a kill, too.
    """
    later = [since_s, *(at for at in times_s if at > since_s)]
    if len(later) == 1:
        raise ValueError("nothing came any more")
    pauses = [(after - before, after) for before, after in pairwise(later)]
    return max(pauses)[1] - since_s


def staggered(prefix: str) -> Iterator[tuple[bytes, bytes]]:
    """Records of all users in turn without an end; users begin one after the other, so that windows close evenly."""
    for number, (_, value) in zip(count(), conversations(1 << 40, USERS), strict=False):
        turn, user = divmod(number, USERS)
        if turn < user * WINDOW_RECORDS // USERS:
            continue
        blob = orjson.loads(value)
        user_id = f"{prefix}{blob['user_id']}"
        yield user_id.encode(), orjson.dumps({**blob, "user_id": user_id, "id": f"{prefix}{blob['id']}"})


class SteadyLoad:
    """Sends, and looks at what becomes of it, until it is left."""

    def __init__(self, kafka: KafkaSettings, shards: int) -> None:
        self.seen = Seen()
        self._kafka = kafka
        self._topics = Topics(kafka.topic_prefix)
        self._shards = shards
        self._is_sending = True

    async def rest(self, timeout_s: float) -> None:
        """Send no more, and wait until the buffer has committed all that was sent."""
        self._is_sending = False
        async with asyncio.timeout(timeout_s):
            while len(self.seen.committed_s(self._topics.buffer_group)) < len(self.seen.sent_s):
                await asyncio.sleep(0.5)

    async def members(self, group: str, topic: str) -> dict[str, frozenset[int]]:
        """The topic's partitions that each member of the group has; the group names its members anew at each start."""
        async with admin(self._kafka) as client:
            (answer,) = await client.describe_consumer_groups([group])
        return {
            member[0]: frozenset(
                number for name, numbers in _assigned(member[4]) if name == topic for number in numbers
            )
            for member in answer.groups[0][5]
        }

    async def send(self, client: AIOKafkaProducer, prefix: str, per_s: float) -> None:
        begin_s = time.perf_counter()
        for number, (key, value) in enumerate(staggered(prefix)):
            while time.perf_counter() < begin_s + number / per_s:
                await asyncio.sleep(TICK_S)
            if not self._is_sending:
                return
            self._note(await client.send(self._topics.chat_messages, value, key=key), time.perf_counter())

    async def watch_commits(self, client: AIOKafkaAdminClient) -> None:
        groups = {
            self._topics.buffer_group: self._topics.chat_messages,
            self._topics.extraction_group: self._topics.extraction_windows,
        }
        while True:
            for group, topic in groups.items():
                offsets = await client.list_consumer_group_offsets(group)
                now_s = time.perf_counter()
                for place, at in offsets.items():
                    if place.topic == topic:
                        self.seen.committed((group, place.partition), at.offset, now_s)
            await asyncio.sleep(POLL_S)

    async def watch_changes(self, reader: AIOKafkaConsumer) -> None:
        async for record in reader:
            now_s = time.perf_counter()
            change = orjson.loads(record.value)
            source = change["source"]
            self.seen.changed_s.setdefault((source["partition"], source["offset_to"]), now_s)
            shard = slot_of(change["project_id"], change["user_id"]) % self._shards
            self.seen.shard_changes[shard].append(now_s)

    def _note(self, delivery: "asyncio.Future[RecordMetadata]", sent_s: float) -> None:
        def appended(done: "asyncio.Future[RecordMetadata]") -> None:
            metadata = done.result()
            self.seen.sent_s[metadata.partition, metadata.offset] = sent_s

        delivery.add_done_callback(appended)


@asynccontextmanager
async def steady_load(kafka: KafkaSettings, shards: int, user_prefix: str, per_s: float) -> AsyncIterator[SteadyLoad]:
    """A load that runs beside the block."""
    load = SteadyLoad(kafka, shards)
    changes = Topics(kafka.topic_prefix).event_updated
    async with (
        producer(kafka) as client,
        admin(kafka) as asking,
        consumer(kafka, changes, fetch_max_wait_ms=50) as reader,
        asyncio.TaskGroup() as tasks,
    ):
        working = [
            tasks.create_task(load.send(client, user_prefix, per_s)),
            tasks.create_task(load.watch_commits(asking)),
            tasks.create_task(load.watch_changes(reader)),
        ]
        yield load
        for task in working:
            task.cancel()


def _assigned(assignment: bytes) -> list[tuple[str, list[int]]]:
    """Topics and partitions; none of a member that has just joined."""
    return list(ConsumerProtocol.ASSIGNMENT.decode(assignment).assignment) if assignment else []
