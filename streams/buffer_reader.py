"""The buffer seen from outside, for `flush --all` and `audit`: read from the changelog, without being its owner."""

from dataclasses import dataclass

from aiokafka import TopicPartition

from schemas.settings import KafkaSettings
from schemas.windows import Position
from streams.buffer_codec import HeadKey, decode_entry, decode_head, decode_key
from streams.clients import consumer, translated
from streams.topics import Topics, partition_for
from streams.windowing import Head


@dataclass(frozen=True, slots=True)
class BufferedBlob:
    """A blob that is buffered and where its record lies in `chat-messages`."""

    key: HeadKey
    blob_id: str
    position: Position


@dataclass(frozen=True, slots=True)
class Buffered:
    """What all partitions hold, as of the changelog's end when it was read."""

    heads: dict[HeadKey, Head]
    blobs: list[BufferedBlob]


async def read_buffered(kafka: KafkaSettings, user_id: str | None = None) -> Buffered:
    """Read the changelog, or the partition of a user, committed records only; raises RetryLater while the broker is
    away.
    """
    state: dict[bytes, bytes] = {}
    topic = Topics(kafka.topic_prefix).buffer_changelog
    async with consumer(kafka, topic) as reader:
        with translated("reading the changelog"):
            numbers = sorted(reader.partitions_for_topic(topic) or ())
            if user_id is not None and numbers:
                numbers = [partition_for(user_id.encode(), len(numbers))]
                reader.unsubscribe()
                reader.assign([TopicPartition(topic, number) for number in numbers])
            partitions = [TopicPartition(topic, number) for number in numbers]
            ends = await reader.end_offsets(partitions)
            await reader.seek_to_beginning(*partitions)
            while [tp for tp in partitions if await reader.position(tp) < ends[tp]]:
                for records in (await reader.getmany(timeout_ms=200, max_records=10_000)).values():
                    for record in records:
                        if record.value is None:
                            state.pop(record.key, None)
                        else:
                            state[record.key] = record.value
    heads: dict[HeadKey, Head] = {}
    entries = []
    for raw_key, raw in state.items():
        key, number = decode_key(raw_key)
        if number is None:
            heads[key] = decode_head(raw)
        else:
            entries.append((key, number, raw))
    blobs = []
    for key, number, raw in entries:
        head = heads.get(key)
        if head is not None and head.first_entry <= number < head.next_entry:
            unit = decode_entry(raw)
            blobs.append(BufferedBlob(key, unit.blob_id, unit.position))
    return Buffered(heads, blobs)
