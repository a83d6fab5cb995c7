"""The buffer role on a real broker: every record that arrives has its outcome, whoever sent it and however."""

import asyncio
from collections import Counter
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import orjson
import pytest
from aiokafka.admin import AIOKafkaAdminClient, NewTopic
from aiokafka.structs import ConsumerRecord
from confluent_kafka import Producer

from schemas import headers as names
from schemas.errors import ConfigurationError
from schemas.settings import BufferSettings, KafkaSettings, Settings
from schemas.windows import Window, WindowCommand, decode_window
from streams.buffer_reader import read_buffered
from streams.buffering import handle
from streams.clients import admin, producer
from streams.topics import Topics, ensure_topics, partition_counts, partition_for
from streams.worker import EXIT_FATAL, run_worker
from tests.support.buffer_step import chat, flush
from tests.support.buffer_worker import ROLE, read_all, running_worker, until_all_read, worker_settings
from tests.support.odd_headers import CODECS, NoText, send_batch

PARTITIONS = 4
POLL_S = 0.1


@pytest.fixture
async def settings(kafka_bootstrap: str, topic_prefix: str) -> Settings:
    made = worker_settings(kafka_bootstrap, topic_prefix, partitions=PARTITIONS, max_blob_bytes=200_000)
    await ensure_topics(made.kafka, made.buffer)
    return made


@pytest.fixture
def topics(topic_prefix: str) -> Topics:
    return Topics(topic_prefix)


async def send(kafka: KafkaSettings, values: Sequence[dict[str, Any]], **options: Any) -> None:
    """Send as a Java or Python client does: the user id is the key, and murmur2 chooses the partition."""
    async with producer(kafka) as client:
        for value in values:
            await client.send(
                Topics(kafka.topic_prefix).chat_messages,
                orjson.dumps(value),
                key=value["user_id"].encode(),
                **options,
            )


async def windows_in(kafka: KafkaSettings) -> list[tuple[ConsumerRecord, Window]]:
    records = await read_all(kafka, Topics(kafka.topic_prefix).extraction_windows)
    decoded = [(record, decode_window(record.value)) for record in records]
    return [(record, item) for record, item in decoded if isinstance(item, Window)]


async def commands_in(kafka: KafkaSettings) -> list[WindowCommand]:
    records = await read_all(kafka, Topics(kafka.topic_prefix).extraction_windows)
    decoded = [decode_window(record.value) for record in records]
    return [item for item in decoded if isinstance(item, WindowCommand)]


async def texts_by_user(kafka: KafkaSettings) -> dict[str, list[str]]:
    """What the windows hold, by user; checks on the way that each lies where its user belongs."""
    texts: dict[str, list[str]] = {}
    for record, window in await windows_in(kafka):
        assert record.key == window.user_id.encode()
        assert record.partition == partition_for(record.key, PARTITIONS)
        for unit in window.units:
            texts.setdefault(window.user_id, []).extend(
                message["content"] for message in unit.content["blob_data"]["messages"]
            )
    return texts


async def test_records_in_wrong_places_end_once_in_the_windows_of_the_right_user(
    settings: Settings, topics: Topics
) -> None:
    users = [f"user-{number}" for number in range(6)]
    async with producer(settings.kafka) as client:
        for number, user_id in enumerate(users):
            value = orjson.dumps(chat(f"keyless {user_id}", user_id=user_id))
            await client.send(topics.chat_messages, value, partition=number % PARTITIONS)
            value = orjson.dumps(chat(f"foreign {user_id}", user_id=user_id))
            await client.send(topics.chat_messages, value, key=b"tenant-7")
    librdkafka = Producer({"bootstrap.servers": settings.kafka.bootstrap_servers})
    for user_id in users:
        librdkafka.produce(topics.chat_messages, orjson.dumps(chat(f"confluent {user_id}", user_id=user_id)), user_id)
    assert librdkafka.flush(30) == 0
    await send(settings.kafka, [chat(f"usual {user_id}", user_id=user_id) for user_id in users])

    async with running_worker(settings):
        await until_all_read(settings.kafka)
        await send(settings.kafka, [flush(user_id) for user_id in users])
        await until_all_read(settings.kafka)

    assert {user_id: Counter(texts) for user_id, texts in (await texts_by_user(settings.kafka)).items()} == {
        user_id: Counter(f"{how} {user_id}" for how in ("keyless", "foreign", "confluent", "usual"))
        for user_id in users
    }
    moved = [unit for _, window in await windows_in(settings.kafka) for unit in window.units if unit.origin]
    assert {"keyless", "foreign"} <= {unit.content["blob_data"]["messages"][0]["content"].split()[0] for unit in moved}
    assert len({(unit.first_position.partition, unit.first_position.offset) for unit in moved}) == len(moved)
    assert (await read_buffered(settings.kafka)).heads == {}


async def test_messages_of_an_aborted_transaction_are_ignored(settings: Settings, topics: Topics) -> None:
    async with producer(settings.kafka, transactional_id=f"{settings.kafka.topic_prefix}somebody") as client:
        for text, outcome in (("kept", "commit"), ("taken back", "abort"), ("kept too", "commit")):
            await client.begin_transaction()
            await client.send_and_wait(topics.chat_messages, orjson.dumps(chat(text)), key=b"u1")
            await (client.commit_transaction() if outcome == "commit" else client.abort_transaction())
    await send(settings.kafka, [flush()])
    async with running_worker(settings):
        await until_all_read(settings.kafka)
    assert await texts_by_user(settings.kafka) == {"u1": ["kept", "kept too"]}


BAD: dict[str, bytes] = {
    "invalid-json": b"not json",
    "invalid-utf8": b'{"user_id": "\xff"}',
    "invalid-record": b'{"user_id": "u1", "blob_data": {"messages": []}}',
    "unknown-blob-type": b'{"user_id": "u1", "blob_type": "video", "blob_data": {}}',
    "newer-version": b'{"v": 2, "user_id": "u1"}',
    "id-conflict": orjson.dumps(chat("other content", id="taken")),
    "too-large": orjson.dumps(chat("x" * 300_000)),
}


async def test_bad_records_are_dead_letters_as_they_were_and_later_records_flow_on(
    settings: Settings, topics: Topics
) -> None:
    partition = partition_for(b"u1", PARTITIONS)
    sent_along = [("trace", b"abc"), ("trace", b"def")]
    async with producer(settings.kafka) as client:
        await client.send_and_wait(topics.chat_messages, orjson.dumps(chat("first", id="taken")), key=b"u1")
        for value in BAD.values():
            await client.send_and_wait(topics.chat_messages, value, key=b"u1", partition=partition, headers=sent_along)
        await client.send_and_wait(topics.chat_messages, None, key=b"u1", partition=partition)
        # Keyless and elsewhere: nobody can tell whose it is, so it is parked where it lies.
        await client.send_and_wait(topics.chat_messages, b"[]", partition=(partition + 1) % PARTITIONS)
    await send(settings.kafka, [chat("last"), flush()])
    async with running_worker(settings):
        await until_all_read(settings.kafka)

    originals = {record.offset: record for record in await read_all(settings.kafka, topics.chat_messages)}
    letters = await read_all(settings.kafka, topics.dead_letters)
    found = {}
    for letter in letters:
        headers = {name: value.decode() for name, value in letter.headers if name.startswith("__memostream.errors.")}
        if letter.key is None:
            assert (letter.value, headers[names.ERROR_REASON]) == (b"[]", "invalid-record")
            continue
        original = originals[int(headers[names.ERROR_OFFSET])]
        assert (letter.key, letter.value) == (original.key, original.value)
        assert list(letter.headers)[:2] == sent_along
        assert int(headers[names.ERROR_TIMESTAMP]) == original.timestamp
        assert (headers[names.ERROR_TOPIC], headers[names.ERROR_PARTITION]) == (topics.chat_messages, str(partition))
        assert (headers[names.ERROR_GROUP], headers[names.ERROR_STAGE]) == (topics.buffer_group, "buffer")
        assert headers[names.ERROR_MESSAGE]
        found[headers[names.ERROR_REASON]] = letter.value
    assert found == BAD
    assert len(letters) == len(BAD) + 1
    assert await texts_by_user(settings.kafka) == {"u1": ["first", "last"]}


async def test_a_header_whose_name_is_no_utf8_stops_neither_its_record_nor_those_beside_it(
    settings: Settings, topics: Topics
) -> None:
    odd: list[tuple[str, bytes]] = [(NoText(b"trace\xff"), b"\x00\xff")]
    for user_id in CODECS:
        key, partition = user_id.encode(), partition_for(user_id.encode(), PARTITIONS)
        values = [orjson.dumps(chat(text, user_id=user_id)) for text in ("before", "itself", "elsewhere", "after")]
        records = [(key, values[0], []), (key, values[1], odd), (key, b"no json", odd), (key, values[3], [])]
        await send_batch(settings.kafka, topics.chat_messages, partition, records, user_id)
        misplaced = [(key, values[2], odd)]
        await send_batch(settings.kafka, topics.chat_messages, (partition + 1) % PARTITIONS, misplaced, user_id)

    async with running_worker(settings) as worker:
        await until_all_read(settings.kafka)
        await send(settings.kafka, [flush(user_id) for user_id in CODECS])
        await until_all_read(settings.kafka)
        assert not worker.done()

    expected = Counter(["before", "itself", "after", "elsewhere"])
    texts = await texts_by_user(settings.kafka)
    assert {user_id: Counter(found) for user_id, found in texts.items()} == dict.fromkeys(CODECS, expected)
    letters = await read_all(settings.kafka, topics.dead_letters)
    assert Counter((letter.key, letter.value) for letter in letters) == Counter(
        (user_id.encode(), b"no json") for user_id in CODECS
    )
    for letter in letters:
        assert letter.headers[0] == ("trace\\xff", b"\x00\xff")
        assert dict(letter.headers)[names.ERROR_REASON] == b"invalid-json"


async def test_a_record_that_only_compression_let_in_is_parked_without_its_bytes(
    settings: Settings, topics: Topics
) -> None:
    async with producer(settings.kafka, compression_type="gzip") as client:
        await client.send_and_wait(topics.chat_messages, b" " * (7 << 20), key=b"u1")
    await send(settings.kafka, [chat("last"), flush()])
    async with running_worker(settings):
        await until_all_read(settings.kafka)
    (letter,) = await read_all(settings.kafka, topics.dead_letters)
    assert (letter.key, letter.value) == (b"u1", b"")
    assert dict(letter.headers)[names.ERROR_REASON] == b"too-large"
    assert await texts_by_user(settings.kafka) == {"u1": ["last"]}


async def test_the_tail_of_an_idle_user_is_flushed_once_and_again_for_the_next_message(
    kafka_bootstrap: str, topic_prefix: str
) -> None:
    settings = worker_settings(kafka_bootstrap, topic_prefix, buffer_flush_interval_s=1.0)
    await ensure_topics(settings.kafka, settings.buffer)
    busy = True

    async def keep_busy() -> None:
        # On the idle user's partition, so that the partition itself is never idle.
        partition = partition_for(b"idle", settings.kafka.partitions)
        async with producer(settings.kafka) as client:
            while busy:
                await client.send(Topics(topic_prefix).chat_messages, None, key=b"nobody", partition=partition)
                await asyncio.sleep(0.05)

    async with running_worker(settings):
        noise = asyncio.create_task(keep_busy())
        for count in (1, 2):
            # The second time it is the very same blob again.
            await send(settings.kafka, [chat("a tail", user_id="idle", id="b1")])
            async with asyncio.timeout(30):
                while len(await windows_in(settings.kafka)) < count:
                    await asyncio.sleep(POLL_S)
        await asyncio.sleep(1.5)
        busy = False
        await noise
        await until_all_read(settings.kafka)
    windows = [window for _, window in await windows_in(settings.kafka)]
    assert [(window.reason, [unit.blob_id for unit in window.units]) for window in windows] == [("flush", ["b1"])] * 2
    assert [command.command.last_blob_id for command in await commands_in(settings.kafka)] == ["b1", "b1"]


async def test_a_worker_leaves_nothing_in_its_working_directory(
    settings: Settings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    await send(settings.kafka, [chat()])
    async with running_worker(settings):
        await until_all_read(settings.kafka)
    assert list(tmp_path.iterdir()) == []


async def make_windows_wider(client: AIOKafkaAdminClient, topics: Topics) -> None:
    """Make extraction-windows anew, with more partitions than the others have."""
    await client.delete_topics([topics.extraction_windows])
    async with asyncio.timeout(30):
        while topics.extraction_windows in await client.list_topics():
            await asyncio.sleep(POLL_S)
    await client.create_topics([NewTopic(topics.extraction_windows, PARTITIONS + 3, 1)])


async def test_partition_counts_that_differ_are_refused_before_the_group_is_joined(
    settings: Settings, topics: Topics
) -> None:
    async with admin(settings.kafka) as client:
        await make_windows_wider(client, topics)
        with pytest.raises(ConfigurationError) as caught:
            await run_worker(settings, ROLE)
        groups = {group[0] for group in await client.list_consumer_groups()}
    assert f"{topics.chat_messages} has {PARTITIONS}" in str(caught.value)
    assert f"{topics.extraction_windows} has {PARTITIONS + 3}" in str(caught.value)
    assert topics.buffer_group not in groups


async def test_a_topic_that_the_broker_does_not_show_yet_is_looked_at_before_the_group_is_joined(
    settings: Settings, topics: Topics, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with admin(settings.kafka) as client:
        await make_windows_wider(client, topics)
    looks = 0

    async def shown_late(client: AIOKafkaAdminClient, names: Iterable[str]) -> dict[str, int]:
        nonlocal looks
        looks += 1
        counts = await partition_counts(client, names)
        return counts if looks > 1 else {name: n for name, n in counts.items() if name != topics.extraction_windows}

    monkeypatch.setattr("streams.topics.partition_counts", shown_late)
    with pytest.raises(ConfigurationError, match=f"{topics.extraction_windows} has {PARTITIONS + 3}"):
        await ensure_topics(settings.kafka, settings.buffer)
    assert looks > 1


@pytest.mark.parametrize(
    ("setting", "value", "said"),
    [("max.message.bytes", "1000000", "1000000 bytes"), ("cleanup.policy", "compact", "cleanup.policy compact")],
)
async def test_an_existing_topic_that_would_refuse_or_remove_records_is_named_with_the_fix(
    kafka_bootstrap: str, topic_prefix: str, setting: str, value: str, said: str
) -> None:
    kafka = KafkaSettings(bootstrap_servers=kafka_bootstrap, topic_prefix=topic_prefix)
    name = Topics(topic_prefix).chat_messages
    fitting = {"max.message.bytes": str(4 << 20), "cleanup.policy": "delete"}
    async with admin(kafka) as client:
        await client.create_topics([NewTopic(name, PARTITIONS, 1, topic_configs={**fitting, setting: value})])
    with pytest.raises(ConfigurationError, match=f"topic {name} .*{said}"):
        await ensure_topics(kafka, BufferSettings())


async def test_an_exception_nobody_expected_ends_the_worker_and_a_restart_skips_nothing(
    settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    users = [f"user-{number}" for number in range(8)]
    await send(settings.kafka, [chat(f"{user_id} {n}", user_id=user_id) for n in range(50) for user_id in users])

    def poisoned(record: Any, *others: Any) -> None:
        if b"user-3 20" in (record.value or b""):
            raise RuntimeError("nobody expected this")
        handle(record, *others)

    with monkeypatch.context() as patch:
        patch.setattr("streams.buffer_owner.handle", poisoned)
        assert await asyncio.wait_for(run_worker(settings, ROLE), 60) == EXIT_FATAL
    await send(settings.kafka, [flush(user_id) for user_id in users])
    async with running_worker(settings):
        await until_all_read(settings.kafka)
    assert await texts_by_user(settings.kafka) == {user_id: [f"{user_id} {n}" for n in range(50)] for user_id in users}


async def test_state_of_a_newer_worker_ends_this_one_before_it_reads_a_record(
    settings: Settings, topics: Topics
) -> None:
    async with producer(settings.kafka) as client:
        await client.send_and_wait(topics.buffer_changelog, b'{"v": 2}', key=b'["default", "u1", "chat"]', partition=0)
    await send(settings.kafka, [chat("hello", user_id=f"user-{number}") for number in range(8)])
    assert await asyncio.wait_for(run_worker(settings, ROLE), 60) == EXIT_FATAL
    assert await windows_in(settings.kafka) == []
