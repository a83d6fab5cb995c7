"""The checker finds one injected loss, duplicate, swap, orphan, stale profile, … each, and nothing else with it.

One small system has worked and was stopped. Each defect is injected into a copy of its database, or undone.
"""

import asyncio
import dataclasses
import uuid
from collections.abc import AsyncIterator, Iterator, Mapping, Sequence
from typing import Any

import asyncpg
import orjson
import pytest
from aiokafka import TopicPartition
from aiokafka.admin import RecordsToDelete
from pydantic import SecretStr
from sqlalchemy.engine import make_url

from cli.audit_findings import CheckName
from cli.scanning import topic_scanner
from schemas.settings import KafkaSettings, Settings, StorageSettings
from streams.clients import admin, producer
from streams.topics import Topics, partition_for
from tests.chaos.checker import ProducedRecord, Verdict, check
from tests.conftest import execute, plain_dsn, run_apart, with_database
from tests.support.command_line import CommandLine

USERS = tuple(f"user-{number}" for number in range(6))
ROUNDS = ("I live in Bergen.", "I moved to Oslo. I work as a nurse.")
# Says nothing that memory keeps, so that its loss leaves no other trace.
SILENT = "silent"
REASON = "unsupported-content"


@dataclasses.dataclass(frozen=True)
class Settled:
    """A system that has worked, and what was sent to it."""

    kafka: KafkaSettings
    database_url: str
    produced: tuple[ProducedRecord, ...]

    @property
    def topics(self) -> Topics:
        return Topics(self.kafka.topic_prefix)

    def settings(self, database_url: str | None = None) -> Settings:
        url = SecretStr(database_url or self.database_url)
        return Settings(kafka=self.kafka, storage=StorageSettings(database_url=url))


@pytest.fixture(scope="module")
def settled(
    tmp_path_factory: pytest.TempPathFactory,
    kafka_bootstrap: str,
    postgres_admin_url: str,
    template_database: str,
    program: Sequence[str],
) -> Iterator[Settled]:
    name = f"test_{uuid.uuid4().hex[:12]}"
    run_apart(execute(postgres_admin_url, f'CREATE DATABASE "{name}" TEMPLATE "{template_database}"'))
    database_url = with_database(postgres_admin_url, name)
    kafka = KafkaSettings(bootstrap_servers=kafka_bootstrap, topic_prefix=f"{name}-", partitions=2)
    shell = CommandLine.of(
        tmp_path_factory.mktemp("settled"),
        kafka=kafka_bootstrap,
        database_url=database_url,
        prefix=f"{name}-",
        program=program,
    )
    system = Settled(kafka, database_url, tuple(_records()))
    with shell.background("worker", until="worker.started"):
        run_apart(_send(system, -1))
        shell.call("flush", "--all")
        run_apart(_drop_windows(system))
        for number in range(len(ROUNDS)):
            run_apart(_send(system, number))
            shell.call("flush", "--all")
        run_apart(_until_published(system))
    yield system
    run_apart(execute(postgres_admin_url, f'DROP DATABASE "{name}" WITH (FORCE)'))


@pytest.fixture
async def copied(settled: Settled, postgres_admin_url: str) -> AsyncIterator[str]:
    """A copy of the system's database, to injure."""
    name = f"test_{uuid.uuid4().hex[:12]}"
    original = make_url(settled.database_url).database
    await execute(postgres_admin_url, f'CREATE DATABASE "{name}" TEMPLATE "{original}"')
    yield with_database(postgres_admin_url, name)
    await execute(postgres_admin_url, f'DROP DATABASE "{name}" WITH (FORCE)')


def _records() -> Iterator[ProducedRecord]:
    yield ProducedRecord("default", SILENT, "silent-0", 0)
    for number in range(len(ROUNDS)):
        for user in USERS:
            yield ProducedRecord("default", user, f"{user}-{number}", number)
    yield ProducedRecord("default", USERS[0], "image", 10, "parked", REASON)
    yield ProducedRecord("default", USERS[1], "nonsense", 11, "parked", "invalid-record")
    yield ProducedRecord("default", USERS[2], "aborted", 12, "aborted")


async def _send(system: Settled, number: int) -> None:
    topic = system.topics.chat_messages

    def chat(user_id: str, text: str, blob_id: str) -> bytes:
        data = {"messages": [{"role": "user", "content": text}]}
        return orjson.dumps({"id": blob_id, "user_id": user_id, "blob_data": data})

    async with producer(system.kafka) as client:
        if number < 0:
            await client.send_and_wait(topic, chat(SILENT, "Hm.", "silent-0"), SILENT.encode())
            return
        for user in USERS:
            value = chat(user, ROUNDS[number], f"{user}-{number}")
            # Sent twice: it counts once.
            for _ in range(2):
                await client.send_and_wait(topic, value, user.encode())
        if number == 0:
            image = {
                "id": "image",
                "user_id": USERS[0],
                "blob_type": "image",
                "blob_data": {"url": "https://a.example/b"},
            }
            await client.send_and_wait(topic, orjson.dumps(image), USERS[0].encode())
            nonsense = {"id": "nonsense", "user_id": USERS[1], "blob_data": {"messages": []}}
            await client.send_and_wait(topic, orjson.dumps(nonsense), USERS[1].encode())
    if number == 0:
        async with producer(system.kafka, transactional_id=f"{system.kafka.topic_prefix}test") as client:
            await client.begin_transaction()
            await client.send_and_wait(topic, chat(USERS[2], "I live in Rome.", "aborted"), USERS[2].encode())
            await client.abort_transaction()


async def _drop_windows(system: Settled) -> None:
    """As retention does, so that nothing tells of the silent user's window but Postgres."""
    partition = partition_for(SILENT.encode(), 2)
    topic = system.topics.extraction_windows
    async with topic_scanner(system.kafka) as scanner:
        _, end = await scanner.bounds(topic)
    async with admin(system.kafka) as client:
        await client.delete_records({TopicPartition(topic, partition): RecordsToDelete(end[partition])})


async def _until_published(system: Settled) -> None:
    connection = await asyncpg.connect(dsn=plain_dsn(system.database_url))
    try:
        while await connection.fetchval("SELECT count(*) FROM outbox"):
            await asyncio.sleep(0.1)
    finally:
        await connection.close()


async def judged(settled: Settled, copied: str, *statements: str, **expected: Any) -> Verdict:
    for statement in statements:
        await execute(copied, statement)
    produced = [dataclasses.replace(record, **expected.get(record.blob_id, {})) for record in settled.produced]
    return await check(settled.settings(copied), produced)


def assert_only(verdict: Verdict, audited: Mapping[CheckName, int], *wrong: str) -> None:
    """What the audit has found, and what the checker has with it."""
    assert verdict.audited == audited, verdict.rows()
    assert set(verdict.wrong) == set(wrong), verdict.rows()
    assert verdict.unfinished == 0


async def test_a_clean_system_has_no_finding(settled: Settled) -> None:
    verdict = await check(settled.settings(), settled.produced)
    assert_only(verdict, {})
    assert verdict.is_clean
    assert verdict.outcomes == {"applied": 1 + 2 * len(USERS), "parked": 2, "aborted": 1}


async def test_a_loss(settled: Settled, copied: str) -> None:
    verdict = await judged(
        settled,
        copied,
        f"DELETE FROM ledger USING units WHERE ledger_id = window_id AND units.user_id = '{SILENT}'",
        f"DELETE FROM units WHERE user_id = '{SILENT}'",
    )
    assert_only(verdict, {"records": 1}, "lost")
    assert verdict.lost.samples == [f"default/{SILENT} silent-0 (number 0)"]


async def test_what_was_acknowledged_and_is_nowhere_is_a_loss(settled: Settled) -> None:
    ghost = ProducedRecord("default", USERS[0], "ghost", 20)
    assert_only(await check(settled.settings(), [*settled.produced, ghost]), {}, "lost")


_WINDOW = "(SELECT window_id FROM units WHERE blob_id = 'user-3-{number}')"


async def test_a_duplicate(settled: Settled, copied: str) -> None:
    verdict = await judged(
        settled,
        copied,
        f"UPDATE ledger SET applied_count = 2 WHERE ledger_id = {_WINDOW.format(number=0)}",
        "INSERT INTO units SELECT * FROM units WHERE blob_id = 'user-3-0'",
    )
    assert_only(verdict, {"once": 1}, "twice")
    assert verdict.twice.samples == ["default/user-3 user-3-0 applied twice"]


async def test_a_message_of_two_extractions(settled: Settled, copied: str) -> None:
    verdict = await judged(
        settled,
        copied,
        "UPDATE events SET message_ids = message_ids || '{user-3-0/0}' WHERE user_id = 'user-3' AND NOT "
        "'user-3-0/0' = ANY (message_ids)",
    )
    assert_only(verdict, {"once": 1}, "twice")


async def test_a_swap(settled: Settled, copied: str) -> None:
    first, second = _WINDOW.format(number=0), _WINDOW.format(number=1)
    swapped = f"window_ids = CASE window_ids[1] WHEN {first} THEN ARRAY[{second}] ELSE ARRAY[{first}] END"
    verdict = await judged(
        settled,
        copied,
        f"UPDATE events SET {swapped} WHERE user_id = 'user-3'",
        f"UPDATE profile_history SET {swapped} WHERE user_id = 'user-3'",
    )
    # The window, and the record in it.
    assert_only(verdict, {"order": 2}, "out_of_order")
    assert "default/user-3: number 0 was applied after 1" in verdict.out_of_order.samples


async def test_an_orphan(settled: Settled, copied: str) -> None:
    verdict = await judged(
        settled,
        copied,
        "INSERT INTO blobs (project_id, user_id, blob_id, message_index, part, blob_type, content, occurred_at, "
        "recorded_at) VALUES ('default', 'nobody', 'b', -1, -1, 'chat', '{}', now(), now())",
    )
    assert_only(verdict, {"orphans": 1}, "orphans")
    assert verdict.orphans.samples == ["default/nobody blobs without user"]


async def test_a_stale_profile(settled: Settled) -> None:
    # As a relay that was not fenced would leave it: the first state once more behind the newest.
    await republish(settled, "user-3", first=True)
    try:
        verdict = await check(settled.settings(), settled.produced)
    finally:
        await republish(settled, "user-3", first=False)
    assert_only(verdict, {"profiles": 1}, "stale")


async def test_a_lost_dead_letter(settled: Settled, copied: str) -> None:
    verdict = await judged(
        settled,
        copied,
        "UPDATE units SET state = 'parked', reason = 'too-long' WHERE blob_id = 'user-3-0'",
        f"UPDATE ledger SET applied_count = 0, parked_count = 1 WHERE ledger_id = {_WINDOW.format(number=0)}",
        **{"user-3-0": {"expected": "parked", "reason": "too-long"}},
    )
    assert_only(verdict, {"dead-letters": 1}, "dead_letters")


async def test_a_missing_ledger_row(settled: Settled, copied: str) -> None:
    verdict = await judged(
        settled,
        copied,
        "DELETE FROM ledger WHERE ledger_id = (SELECT ledger_id FROM ledger WHERE kind = 'flush' "
        "AND user_id = 'user-3' LIMIT 1)",
    )
    assert_only(verdict, {"ledger": 1}, "ledger")


async def test_a_ledger_row_that_counts_what_is_not_there(settled: Settled, copied: str) -> None:
    verdict = await judged(
        settled, copied, f"UPDATE ledger SET applied_count = 2 WHERE ledger_id = {_WINDOW.format(number=0)}"
    )
    assert_only(verdict, {"ledger": 1}, "ledger")


async def test_a_forgotten_outbox_row(settled: Settled, copied: str) -> None:
    verdict = await judged(
        settled,
        copied,
        "INSERT INTO outbox (id, aggregatetype, aggregateid, type, payload, seq, slot, project_id, user_id, headers, "
        "created_at) VALUES (gen_random_uuid(), 'dead-letters', 'user-3', 't', '{}', 99, 1, 'default', 'user-3', '{}', "
        "now() - interval '1 day')",
    )
    assert_only(verdict, {"outbox": 1}, "unpublished")


async def test_a_change_that_was_not_published(settled: Settled, copied: str) -> None:
    columns = 'project_id, user_id, generation, topic, sub_topic, op, "after", why, revision, occurred_at, recorded_at'
    verdict = await judged(
        settled,
        copied,
        f"INSERT INTO profile_history ({columns}, profile_id) SELECT {columns}, gen_random_uuid() FROM profile_history "
        "WHERE user_id = 'user-3' ORDER BY history_id LIMIT 1",
    )
    assert_only(verdict, {"changes": 1}, "changes")


async def test_a_change_that_postgres_does_not_know(settled: Settled, copied: str) -> None:
    verdict = await judged(
        settled,
        copied,
        "DELETE FROM profile_history WHERE history_id = (SELECT min(history_id) FROM profile_history "
        "WHERE user_id = 'user-3')",
    )
    assert_only(verdict, {"changes": 1}, "changes")


async def test_what_was_aborted_and_is_there_is_unexpected(settled: Settled, copied: str) -> None:
    verdict = await judged(settled, copied, **{"user-3-0": {"expected": "aborted"}})
    assert_only(verdict, {}, "unexpected")


async def test_another_reason_than_expected(settled: Settled, copied: str) -> None:
    verdict = await judged(settled, copied, image={"reason": "too-long"})
    assert_only(verdict, {}, "unexpected")


async def test_facts_are_compared(settled: Settled) -> None:
    facts = {("default", "user-3"): {("contact_info", "city"): "Oslo"}}
    assert_only(await check(settled.settings(), settled.produced, facts), {})
    facts["default", "user-3"]["contact_info", "city"] = "Rome"
    assert_only(await check(settled.settings(), settled.produced, facts), {}, "facts")


async def republish(settled: Settled, user_id: str, *, first: bool) -> None:
    """Send the user's first state, or the one of the highest revision, again."""
    topic, states = settled.topics.profiles, []
    async with topic_scanner(settled.kafka) as scanner:
        begin, end = await scanner.bounds(topic)
        async for records in scanner.scan(topic, begin, end):
            states += [record for record in records if record.key == f"default/{user_id}".encode()]
    states.sort(key=lambda record: orjson.loads(record.value)["revision"])
    wanted = states[0 if first else -1]
    async with producer(settled.kafka) as client:
        await client.send_and_wait(topic, wanted.value, wanted.key, headers=list(wanted.headers))
