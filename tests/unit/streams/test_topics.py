"""Topic declarations, and the partition of a key."""

import pytest
from pydantic import ValidationError

from schemas.settings import BufferSettings, KafkaSettings
from streams.clients import MAX_BATCH_BYTES
from streams.topics import HEADER_ROOM_BYTES, Topics, declarations, partition_for

# Of Apache Kafka's own tests of murmur2 (UtilsTest.java): signed 32-bit hashes.
JAVA_HASHES = {
    b"21": -973932308,
    b"foobar": -790332482,
    b"a-little-bit-long-string": -985981536,
    b"a-little-bit-longer-string": -1486304829,
    b"lkjh234lh9fiuh90y23oiuhsafujhadof229phr9h19h89h8": -58897971,
    b"abc": 479470107,
}


@pytest.mark.parametrize("key", JAVA_HASHES)
@pytest.mark.parametrize("partitions", [1, 4, 7, 64])
def test_the_partition_of_a_key_is_the_one_that_java_clients_choose(key: bytes, partitions: int) -> None:
    assert partition_for(key, partitions) == (JAVA_HASHES[key] & 0x7FFFFFFF) % partitions


def test_every_name_of_an_installation_begins_with_its_prefix() -> None:
    topics = Topics("team-")
    names = {topic.name for topic in declarations(KafkaSettings(topic_prefix="team-"), BufferSettings())}
    names |= {topics.buffer_group, topics.extraction_group, topics.buffer_transactional_id(3)}
    assert all(name.startswith("team-") for name in names)
    assert len(names) == 10


def test_what_the_buffer_reads_and_writes_by_partition_is_co_partitioned() -> None:
    topics = Topics()
    declared = declarations(KafkaSettings(partitions=5), BufferSettings())
    co_partitioned = {topic.name: topic.partitions for topic in declared if topic.co_partitioned}
    assert co_partitioned == {topics.chat_messages: 5, topics.extraction_windows: 5, topics.buffer_changelog: 5}


def test_state_is_compacted_and_logs_are_not() -> None:
    topics = Topics()
    compacted = {
        topic.name
        for topic in declarations(KafkaSettings(), BufferSettings())
        if topic.config["cleanup.policy"] == "compact"
    }
    assert compacted == {topics.buffer_changelog, topics.profiles}


def test_topics_take_twice_the_largest_blob_and_room_for_our_headers_where_we_add_them() -> None:
    topics = Topics()
    declared = declarations(KafkaSettings(), BufferSettings(max_blob_bytes=500_000))
    limits = {topic.name: int(topic.config["max.message.bytes"]) for topic in declared}
    assert limits[topics.chat_messages] == 1_000_000
    assert limits[topics.dead_letters] == 1_000_000 + HEADER_ROOM_BYTES
    assert limits[topics.extraction_windows] == 1_000_000 + HEADER_ROOM_BYTES
    assert limits[topics.buffer_changelog] == 1_000_000 + HEADER_ROOM_BYTES


def test_topics_too_small_for_the_batches_of_our_producers_are_not_configured() -> None:
    smallest = BufferSettings(max_blob_bytes=MAX_BATCH_BYTES // 2)
    limits = [int(topic.config["max.message.bytes"]) for topic in declarations(KafkaSettings(), smallest)]
    assert min(limits) >= MAX_BATCH_BYTES
    with pytest.raises(ValidationError, match="max_blob_bytes"):
        BufferSettings(max_blob_bytes=MAX_BATCH_BYTES // 2 - 1)
