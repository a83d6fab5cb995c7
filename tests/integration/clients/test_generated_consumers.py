"""Consumers in TypeScript and Java, with types generated from the published schemas, on a running system."""

import asyncio
import subprocess
import uuid
from collections import defaultdict
from collections.abc import AsyncIterator, Iterable, Iterator, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, replace
from datetime import datetime
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import orjson
import pytest
from aiokafka import AIOKafkaConsumer, AIOKafkaProducer, ConsumerRecord, TopicPartition
from aiokafka.admin import AIOKafkaAdminClient
from pydantic import BaseModel, SecretStr
from sqlalchemy.ext.asyncio import AsyncEngine

from embedded.jars import read_lock
from schemas.changes import EventChanged, ProfileChanged, ProfileState
from schemas.settings import BufferSettings, KafkaSettings, StorageSettings
from storage.database import create_engine
from storage.reading import read_profile
from storage.tables import outbox
from streams.topics import Topics, ensure_topics, partition_for
from tests.integration.storage.builders import application, apply_once, change, count_of, unit, update, window
from tests.support.client_types import CLIENTS, JAVA, generate, targets
from tests.support.command_line import CommandLine
from tests.support.followers import Follower, following
from tests.support.node import NODE

PARTITIONS = 2
DEADLINE_S = 60.0
# A program that a signal ended: the JVM says so, Node.js leaves it to the program.
EXIT_CODES = {"typescript": 0, "java": 143}
TIMES = frozenset({"occurred_at", "recorded_at"})
CHINESE_USER = "用户"
MODELS: Mapping[str, type[BaseModel]] = {
    "profile-updated": ProfileChanged,
    "event-updated": EventChanged,
    "profiles": ProfileState,
}


def test_the_committed_types_are_what_the_published_schemas_give(tmp_path: Path) -> None:
    generate(tmp_path)
    for target in targets():
        assert contents(CLIENTS / target.path) == contents(tmp_path / target.path), "run `make clients`"


def contents(path: Path) -> Mapping[str, bytes]:
    files = sorted(path.iterdir()) if path.is_dir() else [path]
    return {file.name: file.read_bytes() for file in files}


def test_the_typescript_consumer_and_its_types_satisfy_the_type_checker(typescript_folder: Path) -> None:
    checker = typescript_folder / "node_modules" / "typescript" / "bin" / "tsc"
    done = subprocess.run([NODE, checker], cwd=typescript_folder, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout) == (0, "")


def test_the_pom_names_the_versions_that_are_tested() -> None:
    namespace = {"": "http://maven.apache.org/POM/4.0.0"}
    named = {
        tuple(dependency.findtext(tag, namespaces=namespace) for tag in ("groupId", "artifactId", "version"))
        for dependency in ElementTree.parse(JAVA / "pom.xml").iterfind(".//dependency", namespace)
    }
    assert named
    assert named <= {(jar.group, jar.artifact, jar.version) for jar in read_lock(JAVA / "jars.sha256")}


def test_the_node_clients_compatible_partitioner_agrees_with_ours_and_its_default_for_powers_of_two(
    typescript_folder: Path,
) -> None:
    keys = [f"user-{number}" for number in range(200)] + [f"用户{number}" for number in range(200)]
    script = """
        import { compatibilityPartitioner, defaultPartitioner } from "@platformatic/kafka";
        const keys = JSON.parse(process.argv[1]).map((key) => Buffer.from(key));
        const hashes = (partitioner) => keys.map((key) => partitioner({}, key));
        console.log(JSON.stringify([hashes(compatibilityPartitioner), hashes(defaultPartitioner)]));
    """
    command = [NODE, "--input-type=module", "--eval", script, orjson.dumps(keys).decode()]
    done = subprocess.run(command, cwd=typescript_folder, capture_output=True, check=True)
    compatible, default = orjson.loads(done.stdout)
    for partitions in (7, 8, 12, 16):
        ours = [partition_for(key.encode(), partitions) for key in keys]
        assert [hash_ % partitions for hash_ in compatible] == ours
        power_of_two = partitions.bit_count() == 1
        assert ([hash_ % partitions for hash_ in default] == ours) is power_of_two


@pytest.fixture
def commands(typescript_consumer: list[str], java_consumer: list[str]) -> Mapping[str, Sequence[str]]:
    return {"typescript": typescript_consumer, "java": java_consumer}


@pytest.fixture
async def engine(database_url: str) -> AsyncIterator[AsyncEngine]:
    engine = create_engine(StorageSettings(database_url=SecretStr(database_url), pool_size=2))
    yield engine
    await engine.dispose()


@pytest.fixture
def followers(
    commands: Mapping[str, Sequence[str]], tmp_path: Path, kafka_bootstrap: str, topic_prefix: str
) -> Iterator["Followers"]:
    with ExitStack() as stack:
        yield Followers(commands, tmp_path, kafka_bootstrap, topic_prefix, stack)


class Followers:
    """Both consumers, side by side."""

    def __init__(
        self, commands: Mapping[str, Sequence[str]], folder: Path, kafka: str, prefix: str, stack: ExitStack
    ) -> None:
        self._commands = commands
        self._folder = folder
        self._kafka = kafka
        self._prefix = prefix
        self._stack = stack

    def start(self) -> list[Follower]:
        """The topics must be there."""
        return [
            self._stack.enter_context(
                following(
                    name,
                    command,
                    self._folder / name,
                    kafka=self._kafka,
                    prefix=self._prefix,
                    group=self.group(name),
                )
            )
            for name, command in self._commands.items()
        ]

    def group(self, name: str) -> str:
        return f"{self._prefix}{name}"


async def test_both_consumers_read_every_change_once_with_every_field_as_python_does(
    followers: Followers,
    engine: AsyncEngine,
    tmp_path: Path,
    kafka_bootstrap: str,
    database_url: str,
    topic_prefix: str,
    program: Sequence[str],
) -> None:
    shell = CommandLine.of(
        tmp_path, kafka=kafka_bootstrap, database_url=database_url, prefix=topic_prefix, program=program
    )
    with shell.background("worker", until="worker.started"):
        running = followers.start()
        await asyncio.to_thread(create_update_and_forget, shell)
        await delete_and_summarize(engine)
        await published(engine)
    created = first_created(await change_records(kafka_bootstrap, topic_prefix))
    await send_again_and_abort(kafka_bootstrap, topic_prefix, created)
    # Behind these on their partition: who has read it has read them.
    await send_with_unknown_keys(kafka_bootstrap, created)
    changes = first_deliveries(await change_records(kafka_bootstrap, topic_prefix), topic_prefix)

    assert {(item.topic, item.op) for item in changes} == {
        ("profile-updated", "c"),
        ("profile-updated", "u"),
        ("profile-updated", "d"),
        ("event-updated", "c"),
        ("profiles", "state"),
        ("profiles", "tombstone"),
    }
    for follower in running:
        follower.wait_for({item.id for item in changes})
        assert follower.stop() == EXIT_CODES[follower.name], follower.complaints()
        printed = [read_line(line, topic_prefix) for line in follower.printed()]
        expected = [in_milliseconds(item) for item in changes] if follower.name == "typescript" else changes
        assert in_order(printed) == in_order(expected)
        assert await not_committed(kafka_bootstrap, topic_prefix, followers.group(follower.name)) == []


async def test_a_newer_version_stops_both_consumers_and_stays_to_be_read(
    followers: Followers, kafka_bootstrap: str, topic_prefix: str
) -> None:
    settings = KafkaSettings(bootstrap_servers=kafka_bootstrap, topic_prefix=topic_prefix, partitions=PARTITIONS)
    await ensure_topics(settings, BufferSettings())
    topic, headers = Topics(topic_prefix).profile_updated, [("ce_id", b"newer")]
    async with AIOKafkaProducer(bootstrap_servers=kafka_bootstrap) as producer:
        await producer.send_and_wait(topic, b'{"v": 2, "operation": 7}', partition=0, headers=headers)
    for follower in followers.start():
        assert follower.wait_for_end() == 1
        assert f"cannot read {topic}-0@0" in follower.complaints()
        assert "version 2 is newer than these types (1)" in follower.complaints()
        assert follower.printed() == []
        unread = await not_committed(kafka_bootstrap, topic_prefix, followers.group(follower.name))
        assert [header(record, "ce_id") for record in unread] == ["newer"]


@dataclass(frozen=True)
class Change:
    """A change as it was read: `value` by the published model, strictly, and its times as moments."""

    topic: str
    key: str
    id: str
    value: Mapping[str, Any] | None

    @property
    def op(self) -> str:
        return "tombstone" if self.value is None else str(self.value.get("op", "state"))


def read_change(record: ConsumerRecord[bytes, bytes], prefix: str) -> Change:
    assert record.key is not None
    topic = record.topic.removeprefix(prefix)
    return Change(topic, record.key.decode(), header(record, "ce_id"), read_value(topic, record.value or b"null"))


def first_deliveries(records: Iterable[ConsumerRecord[bytes, bytes]], prefix: str) -> list[Change]:
    changes: dict[str, Change] = {}
    for record in records:
        changes.setdefault(header(record, "ce_id"), read_change(record, prefix))
    return list(changes.values())


def read_line(line: Mapping[str, Any], prefix: str) -> Change:
    assert set(line) == {"topic", "key", "id", "value"}
    topic = line["topic"].removeprefix(prefix)
    return Change(topic, line["key"], line["id"], read_value(topic, orjson.dumps(line["value"])))


def read_value(topic: str, value: bytes) -> Mapping[str, Any] | None:
    if value == b"null":
        return None
    read = moments(MODELS[topic].model_validate_json(value, strict=True).model_dump())
    assert isinstance(read, dict)
    return read


def moments(value: Any) -> Any:
    """The document with its times as datetimes: they have many spellings."""
    if isinstance(value, dict):
        return {key: datetime.fromisoformat(item) if key in TIMES else moments(item) for key, item in value.items()}
    return [moments(item) for item in value] if isinstance(value, list | tuple) else value


def in_milliseconds(value: Any) -> Any:
    """The same with times as JavaScript keeps them."""
    if isinstance(value, Change):
        return replace(value, value=in_milliseconds(value.value))
    if isinstance(value, dict):
        return {key: in_milliseconds(item) for key, item in value.items()}
    if isinstance(value, list):
        return [in_milliseconds(item) for item in value]
    return value.replace(microsecond=value.microsecond // 1000 * 1000) if isinstance(value, datetime) else value


def in_order(changes: Iterable[Change]) -> Mapping[tuple[str, str], list[Change]]:
    """The changes of each topic and user; only among these is there an order."""
    found = defaultdict[tuple[str, str], list[Change]](list)
    for item in changes:
        found[item.topic, item.key].append(item)
    return found


def create_update_and_forget(shell: CommandLine) -> None:
    """What the worker makes of messages, and a forget."""
    for user_id, text in (("ann", "I live in Bergen."), ("ann", "I live in Oslo."), (CHINESE_USER, "I live in Leeds.")):
        shell.call("send", "--user", user_id, text)
        shell.call("flush", user_id)
    forget = shell.folder / "forget.jsonl"
    forget.write_text('{"command": "forget-user", "user_id": "ann"}')
    shell.call("send", str(forget))
    # Ordered behind the forget, so its end is the forget's end.
    shell.call("flush", "ann")


async def delete_and_summarize(engine: AsyncEngine) -> None:
    """As another extractor would: an entry is dropped, facts are Chinese, the conversation has a summary and tags."""
    async with engine.connect() as connection:
        profile = await read_profile(connection, "default", CHINESE_USER)
    slot = profile.slots[0]
    dropped = change(slot.sub_topic, slot.content, None, topic=slot.topic)
    memory = update(dropped, change("company", None, "字节跳动"), gists=["李雷搬到了北京"], summary="他搬家了")
    one = window(unit("b-zh", text="我搬到北京了"), user_id=CHINESE_USER)
    await apply_once(engine, application(one, read_revision=profile.revision, memory=memory))


async def published(engine: AsyncEngine) -> None:
    async with asyncio.timeout(DEADLINE_S):
        while await count_of(engine, outbox):
            await asyncio.sleep(0.1)


def first_created(records: Iterable[ConsumerRecord[bytes, bytes]]) -> ConsumerRecord[bytes, bytes]:
    return next(record for record in records if record.value and orjson.loads(record.value).get("op") == "c")


async def send_with_unknown_keys(kafka_bootstrap: str, record: ConsumerRecord[bytes, bytes]) -> None:
    """The record as a later memostream of the same version might send it."""
    document = orjson.loads(record.value or b"")
    document |= {"later": {"deep": [1, None]}, "after": {**document["after"], "confidence": 0.5}}
    headers = [("ce_id", str(uuid.uuid4()).encode())]
    async with AIOKafkaProducer(bootstrap_servers=kafka_bootstrap) as producer:
        await producer.send_and_wait(record.topic, orjson.dumps(document), key=record.key, headers=headers)


async def send_again_and_abort(kafka_bootstrap: str, prefix: str, record: ConsumerRecord[bytes, bytes]) -> None:
    """A transaction that never came to be, and a second delivery of a record, as after a crash of the relay."""
    async with AIOKafkaProducer(bootstrap_servers=kafka_bootstrap, transactional_id=f"{prefix}again") as producer:
        await producer.begin_transaction()
        await producer.send_and_wait(record.topic, record.value, key=record.key, headers=[("ce_id", b"aborted")])
        await producer.abort_transaction()
        async with producer.transaction():
            await producer.send_and_wait(record.topic, record.value, key=record.key, headers=list(record.headers))


def change_places(prefix: str) -> list[TopicPartition]:
    topics = Topics(prefix)
    names = (topics.profile_updated, topics.event_updated, topics.profiles)
    return [TopicPartition(name, number) for name in names for number in range(PARTITIONS)]


async def change_records(kafka_bootstrap: str, prefix: str) -> list[ConsumerRecord[bytes, bytes]]:
    """Every committed record of the change topics, in the order of each partition."""
    places = change_places(prefix)
    found: list[ConsumerRecord[bytes, bytes]] = []
    # A seek to the beginning may be overtaken by the reset to the end, which is the default.
    options = {"isolation_level": "read_committed", "auto_offset_reset": "earliest"}
    async with AIOKafkaConsumer(bootstrap_servers=kafka_bootstrap, **options) as reader:
        reader.assign(places)
        ends = await reader.end_offsets(places)
        async with asyncio.timeout(DEADLINE_S):
            while [place for place in places if await reader.position(place) < ends[place]]:
                for records in (await reader.getmany(timeout_ms=200)).values():
                    found.extend(records)
    return found


async def not_committed(kafka_bootstrap: str, prefix: str, group: str) -> list[ConsumerRecord[bytes, bytes]]:
    """The records that the group would be given again."""
    client = AIOKafkaAdminClient(bootstrap_servers=kafka_bootstrap)
    await client.start()
    try:
        committed = await client.list_consumer_group_offsets(group, partitions=change_places(prefix))
    finally:
        await client.close()
    records = await change_records(kafka_bootstrap, prefix)
    return [
        record
        for record in records
        if record.offset >= committed[TopicPartition(record.topic, record.partition)].offset
    ]


def header(record: ConsumerRecord[bytes, bytes], name: str) -> str:
    found: bytes = dict(record.headers)[name]
    return found.decode()
