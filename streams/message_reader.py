"""Blobs read back from their topic by position, and recognised: what lies there now may be somebody else's."""

import asyncio
import contextlib
from collections import deque
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from aiokafka import AIOKafkaConsumer, TopicPartition

from schemas.errors import RetryLater
from schemas.settings import KafkaSettings
from schemas.sought_blobs import Absence, FoundBlob, SoughtBlob
from schemas.windows import Position, Window
from streams.blob_records import read_unit
from streams.clients import admin, consumer, translated
from streams.raw_records import RawRecord
from streams.topics import Topics, partition_counts
from streams.unfinished_windows import read_unfinished

TIMEOUT_S: Final = 10.0
POLL_MS: Final = 200
BATCH_RECORDS: Final = 500
# Records up to the next position are read along, more are skipped.
READ_ALONG_RECORDS: Final = 500

# Each reading opens connections of its own.
READINGS_AT_ONCE: Final = 4

Place = tuple[str, int, int]


@dataclass(frozen=True, slots=True, eq=False)
class _Asked:
    """A caller who waits for texts."""

    sought: tuple[SoughtBlob, ...]
    found: asyncio.Future[Mapping[SoughtBlob, FoundBlob]]


class TopicTexts:
    """Reads texts for callers who come side by side: so many readings at a time, each for all who wait for one."""

    def __init__(self, kafka: KafkaSettings, timeout_s: float = TIMEOUT_S) -> None:
        self._kafka = kafka
        self._timeout_s = timeout_s
        self._turns = asyncio.Semaphore(READINGS_AT_ONCE)
        # Apart, for whoever asks for what is not there must not keep texts from others.
        self._turns_of_windows = asyncio.Semaphore(READINGS_AT_ONCE)
        self._asked: list[_Asked] = []

    @property
    def topic(self) -> str:
        """Full name of `chat-messages`."""
        return Topics(self._kafka.topic_prefix).chat_messages

    async def read(self, sought: Iterable[SoughtBlob]) -> Mapping[SoughtBlob, FoundBlob]:
        """As `read_blobs`; the time runs from a caller's turn on."""
        asked = _Asked(tuple(sought), asyncio.get_running_loop().create_future())
        if not asked.sought:
            return {}
        self._asked.append(asked)
        async with self._turns:
            # Else somebody who had a turn before reads for this caller, too.
            if asked in self._asked:
                await self._read_for_all()
        return await asked.found

    async def unfinished(self, project_id: str, user_id: str) -> Sequence[Window]:
        """As `read_unfinished`, so many at a time."""
        async with self._turns_of_windows:
            return await read_unfinished(self._kafka, project_id, user_id, timeout_s=self._timeout_s)

    async def _read_for_all(self) -> None:
        batch, self._asked = self._asked, []
        found: Mapping[SoughtBlob, FoundBlob] = {}
        try:
            sought = [blob for asked in batch for blob in asked.sought]
            found = await read_blobs(self._kafka, sought, timeout_s=self._timeout_s)
        finally:
            # Where this reader was cut off, nobody knows.
            unknown = FoundBlob(None, "unanswered")
            for asked in batch:
                if not asked.found.done():
                    asked.found.set_result({blob: found.get(blob, unknown) for blob in asked.sought})


async def read_blobs(
    kafka: KafkaSettings, sought: Iterable[SoughtBlob], *, timeout_s: float = TIMEOUT_S
) -> dict[SoughtBlob, FoundBlob]:
    """What has become of each blob, after `timeout_s` at the latest.

    Only a record of the same project and user, with the same id and content hash, counts as the blob. Raises
    ConfigurationError where the broker refuses access.
    """
    wanted = list(dict.fromkeys(sought))
    places = {_place(position) for blob in wanted for position in blob.positions}
    read: dict[Place, RawRecord | Absence] = {}
    if places:
        # What was read by then counts.
        with contextlib.suppress(TimeoutError, RetryLater):
            async with asyncio.timeout(timeout_s):
                await _read_records(kafka, places, read)
    return {blob: recognise(blob, read) for blob in wanted}


def recognise(blob: SoughtBlob, read: Mapping[Place, RawRecord | Absence]) -> FoundBlob:
    """The blob where one of its positions holds it, else what is the matter with the likeliest one."""
    absences: list[Absence] = []
    for position in blob.positions:
        record = read.get(_place(position), "unanswered")
        if not isinstance(record, RawRecord):
            absences.append(record)
            continue
        found = read_unit(record)
        if found is not None:
            sent, unit = found
            names = sent.project_id, sent.user_id, unit.blob_id, unit.content_hash
            if names == (blob.project_id, blob.user_id, blob.blob_id, blob.content_hash):
                return FoundBlob(unit)
        absences.append("replaced")
    return FoundBlob(None, absences[0] if absences else "removed")


async def _read_records(
    kafka: KafkaSettings, places: Collection[Place], read: dict[Place, RawRecord | Absence]
) -> None:
    async with admin(kafka) as admin_client:
        counts = await partition_counts(admin_client, {topic for topic, _, _ in places})
    wanted: dict[TopicPartition, list[int]] = {}
    for topic, partition, offset in places:
        if partition < counts.get(topic, 0):
            wanted.setdefault(TopicPartition(topic, partition), []).append(offset)
        else:
            read[topic, partition, offset] = "no-topic" if topic not in counts else "replaced"
    if not wanted:
        return
    # Uncommitted, so that an open transaction hides nothing; whether it is the right record, its content says.
    async with consumer(kafka, isolation_level="read_uncommitted") as client:
        with translated("reading offsets"):
            first = await client.beginning_offsets(list(wanted))
            end = await client.end_offsets(list(wanted))
        left: dict[TopicPartition, deque[int]] = {}
        for partition, offsets in wanted.items():
            for offset in sorted(offsets):
                if first[partition] <= offset < end[partition]:
                    left.setdefault(partition, deque()).append(offset)
                else:
                    read[*partition, offset] = "removed" if offset < first[partition] else "replaced"
        if left:
            await _fetch(client, left, read)


async def _fetch(
    client: AIOKafkaConsumer, left: dict[TopicPartition, deque[int]], read: dict[Place, RawRecord | Absence]
) -> None:
    client.assign(list(left))
    for partition, offsets in left.items():
        client.seek(partition, offsets[0])
    while left:
        with translated("reading messages"):
            fetched = await client.getmany(*left, timeout_ms=POLL_MS, max_records=BATCH_RECORDS)
            positions = {partition: await client.position(partition) for partition in left}
        for partition, records in fetched.items():
            by_offset = {record.offset: record for record in records}
            for offset in left[partition]:
                if offset in by_offset:
                    read[*partition, offset] = RawRecord.of(by_offset[offset])
        for partition, position in positions.items():
            offsets = left[partition]
            while offsets and offsets[0] < position:
                # A transaction marker, or a gap.
                read.setdefault((*partition, offsets.popleft()), "removed")
            if not offsets:
                del left[partition]
                client.pause(partition)
            elif offsets[0] - position > READ_ALONG_RECORDS:
                client.seek(partition, offsets[0])


def _place(position: Position) -> Place:
    return position.topic, position.partition, position.offset
