"""`memostream forget` on a running system: nothing is left that names the user, and nothing brings them back."""

import asyncio
import time
from collections.abc import AsyncIterator, Iterator, Sequence
from contextlib import ExitStack, asynccontextmanager, contextmanager
from pathlib import Path
from typing import Any, Final

import asyncpg
import orjson
import pytest
from aiokafka import AIOKafkaProducer, TopicPartition
from aiokafka.admin import NewTopic
from aiokafka.admin.config_resource import ConfigResource, ConfigResourceType
from jsonschema import Draft202012Validator

from schemas.erasure import report_schema
from schemas.settings import KafkaSettings
from streams.clients import admin, consumer, producer
from streams.raw_records import RawRecord, origin_headers
from streams.shadow_topics import shadow_topics
from streams.topics import Topics
from tests.conftest import plain_dsn
from tests.support.command_line import CommandLine

DEADLINE_S: Final = 60.0
USER: Final = "frank-2b7e"
# The user's id, and what they said, which facts, events and gists repeat.
TRACES: Final = (USER.encode(), b"Lyon", b"baker")
SHADOW: Final = "b"
REBUILD: Final = ("replay", "run", "--into", "shadow", "--shadow", SHADOW, "--execute")
# What makes a broker compact whatever is no longer written to, as soon as it looks.
AT_ONCE: Final = {
    "cleanup.policy": "compact",
    "max.message.bytes": str(2 * (1 << 20) + 64 * 1024),
    "segment.ms": "200",
    "min.cleanable.dirty.ratio": "0.001",
    "max.compaction.lag.ms": "300",
    "delete.retention.ms": "100",
    "file.delete.delay.ms": "100",
}


def traces_in(raw: bytes) -> set[bytes]:
    return {trace for trace in TRACES if trace in raw}


@pytest.fixture
def on_disk(shell: CommandLine, tmp_path: Path) -> Iterator[CommandLine]:
    """An installation of one partition, with buffers in RocksDB and topics that are compacted at once."""
    kafka = shell.kafka
    topics = Topics(kafka.topic_prefix)
    broker = ConfigResource(ConfigResourceType.BROKER, "1", {"log.cleaner.backoff.ms": "200"})

    async def prepare() -> None:
        async with admin(kafka) as client:
            shadow = shadow_topics(kafka.topic_prefix, SHADOW, "chat-messages")
            names = (topics.profiles, topics.buffer_changelog, shadow.buffer_changelog)
            await client.create_topics([NewTopic(name, 1, 1, topic_configs=AT_ONCE) for name in names])
            await client.alter_configs([broker])

    async def restore() -> None:
        async with admin(kafka) as client:
            await client.alter_configs([ConfigResource(ConfigResourceType.BROKER, "1", {})])

    asyncio.run(prepare())
    yield shell.with_variables(
        MEMOSTREAM_KAFKA__PARTITIONS="1",
        MEMOSTREAM_BUFFER__STORE="rocksdb",
        MEMOSTREAM_BUFFER__DATA_DIR=str(tmp_path / "copies"),
        MEMOSTREAM_STORAGE__PERSISTENT_CHAT_BLOBS="true",
    )
    asyncio.run(restore())


async def records_of(kafka: KafkaSettings, topic: str) -> Sequence[Any]:
    """All that the log of a topic's only partition holds, also what was aborted."""
    place = TopicPartition(topic, 0)
    found: list[Any] = []
    async with consumer(kafka, isolation_level="read_uncommitted") as client:
        client.assign([place])
        await client.seek_to_beginning(place)
        end = (await client.end_offsets([place]))[place]
        while await client.position(place) < end:
            for records in (await client.getmany(place, timeout_ms=200)).values():
                found += records
    return found


async def traces_on(kafka: KafkaSettings, topic: str) -> set[bytes]:
    parts = [
        part
        for record in await records_of(kafka, topic)
        for part in (record.key, record.value, *(value for _, value in record.headers))
    ]
    return traces_in(b"\n".join(part or b"" for part in parts))


def traces_in_files(folder: Path) -> set[bytes]:
    found: set[bytes] = set()
    for path in folder.rglob("*"):
        try:
            found |= traces_in(path.read_bytes()) if path.is_file() else set()
        except FileNotFoundError:
            continue
    return found


async def traces_in_tables(shell: CommandLine) -> dict[str, set[bytes]]:
    """By table, of all that there are."""
    connection = await asyncpg.connect(plain_dsn(shell.database_url))
    try:
        tables = await connection.fetch("SELECT tablename FROM pg_tables WHERE schemaname = 'public'")
        found = {}
        for (table,) in tables:
            rows = await connection.fetch(f'SELECT to_jsonb(item)::text FROM "{table}" AS item')
            found[table] = traces_in("\n".join(text for (text,) in rows).encode())
        return {table: traces for table, traces in found.items() if traces}
    finally:
        await connection.close()


async def rows(shell: CommandLine, statement: str, *values: object) -> Sequence[Any]:
    connection = await asyncpg.connect(plain_dsn(shell.database_url))
    try:
        return list(await connection.fetch(statement, *values))
    finally:
        await connection.close()


async def in_shadow(shell: CommandLine) -> set[bytes]:
    """Traces in rows that live memory does not read; of what the shadow has parked there is a letter, too."""
    await rows(
        shell,
        "INSERT INTO shadow_letters SELECT gen_random_uuid(), generation, project_id, user_id, 'b1', 'a baker', '[]', "
        "now() FROM shadow_users WHERE user_id = $1 AND NOT EXISTS (SELECT FROM shadow_letters)",
        USER,
    )
    found = await rows(shell, "SELECT content FROM profiles WHERE generation > 0 AND user_id = $1", USER)
    return traces_in("\n".join(content for (content,) in found).encode())


def said(user: str, text: str) -> bytes:
    return orjson.dumps({"user_id": user, "blob_data": {"messages": [{"role": "user", "content": text}]}})


@asynccontextmanager
async def sending(kafka: KafkaSettings) -> AsyncIterator[AIOKafkaProducer]:
    async with producer(kafka) as client:
        yield client


async def until_compacted(kafka: KafkaSettings, *names: str) -> None:
    """Somebody else goes on talking, for Kafka begins segments only when something is written."""
    topics = Topics(kafka.topic_prefix)
    deadline = time.monotonic() + DEADLINE_S
    async with sending(kafka) as client:
        number = 0
        while left := {name: found for name in names if (found := await traces_on(kafka, name))}:
            assert time.monotonic() < deadline, left
            number += 1
            await client.send_and_wait(topics.chat_messages, said("bo", f"I have {number} dogs."), key=b"bo")
            command = orjson.dumps({"command": "flush", "user_id": "bo"})
            await client.send_and_wait(topics.chat_messages, command, key=b"bo")
            await asyncio.sleep(0.5)


async def send_again(kafka: KafkaSettings) -> int:
    """All that the user has ever sent, as `redrive` sends it: with where it was first; returns how much it was."""
    topic = Topics(kafka.topic_prefix).chat_messages
    own = [RawRecord.of(record) for record in await records_of(kafka, topic) if record.key == USER.encode()]
    blobs = [record for record in own if b"blob_data" in (record.value or b"")]
    async with sending(kafka) as client:
        for record in blobs:
            headers = list(origin_headers(record.position))
            await client.send_and_wait(topic, record.value, key=record.key, headers=headers)
    return len(blobs)


async def rewind(kafka: KafkaSettings) -> None:
    """Let live memory and the shadow read their topics from the beginning when the worker starts again."""
    topics = Topics(kafka.topic_prefix)
    shadow = shadow_topics(kafka.topic_prefix, SHADOW, "chat-messages")
    for group, topic in (
        (topics.buffer_group, topics.chat_messages),
        (topics.extraction_group, topics.extraction_windows),
        (shadow.buffer_group, topics.chat_messages),
    ):
        async with consumer(kafka, group_id=group) as client:
            place = TopicPartition(topic, 0)
            client.assign([place])
            await client.commit({place: 0})


def cities(shell: CommandLine, user: str) -> list[str]:
    profile = shell.document("profile", user)
    return [entry["content"] for entry in profile["entries"] if entry["sub_topic"] == "city"]


@contextmanager
def working(shell: CommandLine) -> Iterator[Any]:
    with shell.background("worker", until="worker.started") as worker:
        yield worker


@contextmanager
def rebuilding(shell: CommandLine, *beginning: str) -> Iterator[Any]:
    with shell.background(*REBUILD, *beginning, until="worker.started") as worker:
        yield worker


def test_a_forgotten_user_is_nowhere_and_does_not_come_back(on_disk: CommandLine) -> None:
    kafka = on_disk.kafka
    topics = Topics(kafka.topic_prefix)
    copies = on_disk.folder / "copies"
    shadow = shadow_topics(kafka.topic_prefix, SHADOW, "chat-messages")
    cleaned = (topics.profiles, topics.buffer_changelog, shadow.buffer_changelog, shadow.extraction_windows)
    with working(on_disk) as worker, ExitStack() as stack:
        unknown = on_disk.call("forget", USER, "--execute", fails=True)
        assert "check the id and --project" in unknown.stderr
        for user, city in ((USER, "Lyon"), ("bo", "Oslo")):
            on_disk.call("send", "--user", user, f"I live in {city}. My name is {user}.")
            on_disk.call("flush", user)
        on_disk.call("send", "--user", USER, "I work as a baker.")

        async def damaged() -> None:
            async with sending(kafka) as client:
                empty = orjson.dumps({"user_id": USER, "blob_data": {"messages": []}, "fields": {"job": "baker"}})
                await client.send_and_wait(topics.chat_messages, empty, key=USER.encode())

        asyncio.run(damaged())
        rebuilder = stack.enter_context(rebuilding(on_disk, "--to-earliest"))
        deadline = time.monotonic() + DEADLINE_S
        while (
            (plan := on_disk.document("forget", USER))["buffer"]["blobs"] == 0
            or b"Lyon" not in asyncio.run(in_shadow(on_disk))
            or b"baker" not in asyncio.run(traces_on(kafka, shadow.buffer_changelog))
        ):
            assert time.monotonic() < deadline
            time.sleep(0.2)
        # What is looked for is there before, and a dry run leaves it.
        assert (plan["is_executed"], plan["stages"], plan["command"]) == (False, [], None)
        assert {"profiles", "profile_history", "events", "units", "blobs", "users", "ledger"} <= {
            row["table"] for row in plan["tables"] if row["found"]
        }
        found = asyncio.run(traces_in_tables(on_disk)).keys()
        assert {"profiles", "units", "events", "shadow_users", "shadow_windows", "shadow_letters"} <= found
        assert traces_in_files(copies) == set(TRACES)
        # Of what is not buffered any more, compaction may have come first.
        assert asyncio.run(traces_on(kafka, topics.buffer_changelog)) >= {USER.encode(), b"baker"}
        assert asyncio.run(traces_on(kafka, topics.profiles)) == {USER.encode(), b"Lyon"}

        report = on_disk.document("forget", USER, "--execute")
        Draft202012Validator(report_schema()).validate(report)
        assert report["is_complete"], report["stages"]
        assert [row for row in report["tables"] if row["left"]] == []
        assert report["buffer"]["blobs"] == 1
        held = ["chat-messages", "extraction-windows", "dead-letters", "profile-updated", "event-updated"]
        named = [*(f"{kafka.topic_prefix}{name}" for name in held), shadow.extraction_windows]
        assert [topic["topic"] for topic in report["retained"]] == named
        assert [topic["gone_by"] is None for topic in report["retained"]] == [True, False, True, False, False, False]
        assert {topic["topic"] for topic in report["compacted"]} == set(cleaned) - {shadow.extraction_windows}
        assert asyncio.run(traces_in_tables(on_disk)) == {}
        assert traces_in_files(copies) == set()
        asyncio.run(until_compacted(kafka, *cleaned))
        again = on_disk.document("forget", USER, "--execute")
        assert (again["is_complete"], again["command"]) == (True, None)
        assert again["forgotten_at"] == report["forgotten_at"]
        assert not traces_in((worker.output() + rebuilder.output()).encode()) - {USER.encode()}

    asyncio.run(rewind(kafka))
    with working(on_disk), ExitStack() as stack:
        on_disk.call("flush", "--all")
        assert asyncio.run(traces_in_tables(on_disk)) == {}
        without = on_disk.document("forget", USER, "--execute", "--timeout-s", "3", fails=True)
        assert [stage["stage"] for stage in without["stages"] if not stage["is_done"]] == ["shadows"]
        stack.enter_context(rebuilding(on_disk))
        assert on_disk.document("forget", USER, "--execute")["is_complete"]
        assert traces_in_files(copies) == set()
        redriven = on_disk.document("dead-letters", "redrive", "--user", USER, "--execute")
        assert redriven["letters"] == 0
        assert asyncio.run(send_again(kafka)) == 3
        on_disk.call("flush", "--all")
        assert asyncio.run(traces_in_tables(on_disk)) == {}
        revision = on_disk.document("profile", USER)["revision"]

        on_disk.call("send", "--user", USER, "I live in Bergen.")
        on_disk.call("flush", USER)
        assert cities(on_disk, USER) == ["Bergen"]
        assert on_disk.document("profile", USER)["revision"] > revision
        assert cities(on_disk, "bo") == ["Oslo"]
        assert {trace for traces in asyncio.run(traces_in_tables(on_disk)).values() for trace in traces} == {
            USER.encode()
        }
        assert on_disk.document("audit")["agrees"]


def test_a_shadow_that_is_discarded_is_waited_for_no_more(shell: CommandLine) -> None:
    with working(shell):
        shell.call("send", "--user", USER, "I live in Lyon.")
        shell.call("flush", USER)
        with rebuilding(shell, "--to-earliest"):
            pass
        with shell.background("forget", USER, "--execute", "--json") as forget:
            deadline = time.monotonic() + DEADLINE_S
            while asyncio.run(traces_in_tables(shell)):
                assert time.monotonic() < deadline
                time.sleep(0.2)
            assert "is_complete" not in forget.output()
            shell.call("replay", "discard", SHADOW, "--execute")
            forget.wait_for('"is_complete":true')


def test_a_forget_without_a_worker_names_what_is_missing_and_is_finished_by_one(shell: CommandLine) -> None:
    shell.call("send", "--user", USER, "I live in Lyon.")
    assert "--force" in shell.call("forget", USER, "--execute", fails=True).stderr
    report = shell.document("forget", USER, "--execute", "--force", "--timeout-s", "1", fails=True)
    assert not report["is_complete"]
    assert {stage["stage"]: stage["is_done"] for stage in report["stages"]} == {
        "database": True,
        "buffer": False,
        "extraction": False,
        "relay": False,
        # There are none.
        "shadows": True,
    }
    # The tombstone waits.
    assert asyncio.run(traces_in_tables(shell)).keys() == {"outbox"}
    with shell.background("worker", until="worker.started"):
        assert shell.document("forget", USER, "--execute")["is_complete"]
        shell.call("flush", USER)
        assert shell.document("profile", USER)["entries"] == []
    assert asyncio.run(traces_in_tables(shell)) == {}


@pytest.mark.parametrize(
    ("arguments", "code", "words"),
    [
        (["nobody"], 1, "nothing is known of nobody in project default"),
        (["ann", "--project", "a/b"], 2, "must not hold a slash"),
        (["x" * 256, "--execute"], 2, "user_id"),
    ],
)
def test_bad_input_is_refused_with_the_fix(shell: CommandLine, arguments: list[str], code: int, words: str) -> None:
    refused = shell.call("forget", *arguments, fails=True)
    assert (refused.exit_code, words in refused.stderr) == (code, True), refused.stderr
