"""`memostream doctor` names each fault of broker, topics and groups that is planted, and its fix."""

import asyncio
import json
import socket
import time
from collections.abc import Mapping
from pathlib import Path

import pytest
from aiokafka.admin import NewTopic

from schemas.settings import KafkaSettings
from streams.clients import admin, consumer, producer
from streams.topics import Topics
from tests.support.command_line import CommandLine
from tests.support.diagnosis import Fault, faults, findings, only_fault

SERVERS = "MEMOSTREAM_KAFKA__BOOTSTRAP_SERVERS"


@pytest.fixture
def topics(topic_prefix: str) -> Topics:
    return Topics(topic_prefix)


async def make(kafka: KafkaSettings, name: str, partitions: int = 2, config: Mapping[str, str] | None = None) -> None:
    """A topic as somebody else might have made it."""
    settings = {"max.message.bytes": str(4 << 20), **(config or {})}
    async with admin(kafka) as client:
        await client.create_topics([NewTopic(name, partitions, 1, topic_configs=settings)])


async def of_check(shell: CommandLine, check: str, *, fails: bool) -> list[Fault]:
    return [fault for fault in await faults(shell, fails=fails) if fault.check == check]


async def test_where_all_is_well_every_line_says_ok(installed: CommandLine) -> None:
    done = await asyncio.to_thread(installed.call, "doctor", "--strict")
    lines = done.stdout.splitlines()
    assert all(line.startswith("ok ") for line in lines[:-1])
    assert lines[-1] == f"{len(lines) - 1} ok"


async def test_a_broker_that_is_not_there(installed: CommandLine) -> None:
    with socket.socket() as closed:
        closed.bind(("127.0.0.1", 0))
        address = f"127.0.0.1:{closed.getsockname()[1]}"
        fault = await only_fault(installed.with_variables(**{SERVERS: address}))
    assert (fault.check, fault.found) == ("broker", f"nothing answers at {address}")
    assert "set kafka.bootstrap_servers" in fault.fix


async def test_what_needs_the_broker_is_skipped_while_it_is_away(installed: CommandLine) -> None:
    found = await findings(installed.with_variables(**{SERVERS: "127.0.0.1:1"}), "--no-model", fails=True)
    skipped = {entry["check"] for entry in found if entry["found"] == "needs broker"}
    assert skipped == {"broker-settings", "topics", "partitions", "sources", "record-times", "groups", "dead-letters"}
    assert {entry["level"] for entry in found if entry["check"] == "database"} == {"ok"}


async def test_one_of_two_brokers_that_is_not_there_is_a_warning(installed: CommandLine, kafka_bootstrap: str) -> None:
    both = installed.with_variables(**{SERVERS: f"127.0.0.1:1,{kafka_bootstrap}"})
    assert (await only_fault(both, level="warning")).found == "nothing answers at 127.0.0.1:1"


async def test_a_program_that_is_no_broker(installed: CommandLine) -> None:
    async def hang_up(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.close()

    async with await asyncio.start_server(hang_up, "127.0.0.1", 0) as server:
        address = f"127.0.0.1:{server.sockets[0].getsockname()[1]}"
        fault = await only_fault(installed.with_variables(**{SERVERS: address}))
    assert fault.found.startswith(f"{address} takes connections and does not answer as a Kafka broker")


async def test_a_broker_that_never_answers_costs_no_more_than_the_time_out(installed: CommandLine) -> None:
    async def hang(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.read()
        writer.close()

    async with await asyncio.start_server(hang, "127.0.0.1", 0) as server:
        address = f"127.0.0.1:{server.sockets[0].getsockname()[1]}"
        frozen = installed.with_variables(**{SERVERS: address})
        found = await faults(frozen, "--no-model", "--timeout-s", "2", fails=True)
    assert [fault.found for fault in found if fault.check == "broker"] == [
        f"{address} takes connections and does not answer as a Kafka broker (TimeoutError)"
    ]


@pytest.mark.parametrize(
    ("protocol", "fix"),
    [
        ("SASL_PLAINTEXT", "set kafka.security_protocol to PLAINTEXT"),
        ("SSL", "set kafka.security_protocol to PLAINTEXT"),
    ],
)
async def test_a_client_that_asks_for_more_security_than_the_broker_has(
    installed: CommandLine, protocol: str, fix: str
) -> None:
    guarded = installed.with_variables(
        MEMOSTREAM_KAFKA__SECURITY_PROTOCOL=protocol,
        MEMOSTREAM_KAFKA__SASL_USERNAME="memo",
        MEMOSTREAM_KAFKA__SASL_PASSWORD="open sesame",
    )
    fault = await only_fault(guarded)
    assert f"speaks PLAINTEXT, kafka.security_protocol is {protocol}" in fault.found
    assert fault.fix == fix


async def test_missing_topics_are_a_warning_and_stay_missing(
    shell: CommandLine, kafka: KafkaSettings, topics: Topics
) -> None:
    fault = await only_fault(shell, level="warning")
    assert fault.check == "topics"
    assert topics.chat_messages in fault.found
    assert "start a worker" in fault.fix
    async with admin(kafka) as client:
        assert not [name for name in await client.list_topics() if name.startswith(kafka.topic_prefix)]


async def test_topics_that_may_not_be_created(shell: CommandLine, topics: Topics) -> None:
    found = await faults(shell.with_variables(MEMOSTREAM_KAFKA__REPLICATION_FACTOR="3"), fails=True)
    assert f"topic {topics.chat_messages} is missing and cannot be created: InvalidReplicationFactorError" in {
        fault.found for fault in found
    }
    assert {fault.fix for fault in found} == {"set kafka.replication_factor to at most the number of brokers"}


async def test_partition_counts_that_differ(shell: CommandLine, kafka: KafkaSettings, topics: Topics) -> None:
    await make(kafka, topics.chat_messages, 2)
    await make(kafka, topics.extraction_windows, 3)
    (fault,) = await of_check(shell, "partitions", fails=True)
    assert f"{topics.chat_messages} has 2, {topics.extraction_windows} has 3" in fault.found
    assert "recreate the odd one" in fault.fix


@pytest.mark.parametrize(
    ("setting", "value", "fix"),
    [
        ("cleanup.policy", "compact", "--add-config cleanup.policy=delete"),
        ("max.message.bytes", "1000000", "set its max.message.bytes to 2097152 or more"),
        ("min.insync.replicas", "2", "set its min.insync.replicas to 1"),
    ],
)
async def test_a_topic_with_settings_that_would_lose_or_refuse_records(
    shell: CommandLine, kafka: KafkaSettings, topics: Topics, setting: str, value: str, fix: str
) -> None:
    await make(kafka, topics.chat_messages, config={setting: value})
    fault = next(fault for fault in await of_check(shell, "topics", fails=True) if fault.level == "failed")
    assert topics.chat_messages in fault.found
    assert value in fault.found
    assert fix in fault.fix


async def test_chat_messages_that_go_after_a_week(shell: CommandLine, kafka: KafkaSettings, topics: Topics) -> None:
    await make(kafka, topics.chat_messages, config={"retention.ms": str(7 * 24 * 3600 * 1000)})
    found = {fault.found: fault.fix for fault in await of_check(shell, "topics", fails=False)}
    assert (
        "set its retention.ms to -1"
        in found[f"topic {topics.chat_messages} keeps records for 7 days, not for ever. A replay sees no more"]
    )


async def test_topics_with_fewer_copies_than_configured(installed: CommandLine, topics: Topics) -> None:
    wanting = installed.with_variables(MEMOSTREAM_KAFKA__REPLICATION_FACTOR="3")
    found = await of_check(wanting, "topics", fails=False)
    assert f"topic {topics.chat_messages} has 1 of 3 copies: a lost broker loses records" in {f.found for f in found}
    assert "kafka-reassign-partitions" in found[0].fix


@pytest.mark.parametrize(
    ("variable", "value", "fix"),
    [
        ("SESSION_TIMEOUT_S", "0.5", "set kafka.session_timeout_s to 1"),
        ("SESSION_TIMEOUT_S", "3600", "set kafka.session_timeout_s to 1800"),
        ("TRANSACTION_TIMEOUT_S", "1000", "set kafka.transaction_timeout_s to 900"),
    ],
)
async def test_time_outs_that_the_broker_would_refuse(
    installed: CommandLine, variable: str, value: str, fix: str
) -> None:
    fault = await only_fault(installed.with_variables(**{f"MEMOSTREAM_KAFKA__{variable}": value}))
    assert fault.check == "broker-settings"
    assert fix in fault.fix


async def test_records_that_wait_while_no_worker_runs(
    installed: CommandLine, kafka: KafkaSettings, topics: Topics
) -> None:
    async with producer(kafka) as client:
        await client.send_and_wait(topics.chat_messages, b"{}", key=b"ann")
    fault = await only_fault(installed, level="warning")
    assert fault.found == f"1 record of {topics.chat_messages} waits, and nobody is in group {topics.buffer_group}"
    assert "memostream worker" in fault.fix


async def test_a_stranger_in_our_group(installed: CommandLine, kafka: KafkaSettings, topics: Topics) -> None:
    stranger = consumer(
        kafka, topics.chat_messages, group_id=topics.buffer_group, client_id="billing", session_timeout_ms=30000
    )
    async with stranger as client:
        await client.getmany(timeout_ms=100)
        while not client.assignment():
            await asyncio.sleep(0.1)
        fault = await only_fault(installed)
    assert fault.check == "groups"
    assert fault.found.startswith("billing at 127.0.0.1 has joined our group")
    assert "group.id of its own" in fault.fix


async def test_a_record_from_the_future(installed: CommandLine, kafka: KafkaSettings, topics: Topics) -> None:
    in_an_hour_ms = int((time.time() + 3600) * 1000)
    async with producer(kafka) as client:
        await client.send_and_wait(topics.chat_messages, b"{}", key=b"ann", timestamp_ms=in_an_hour_ms)
    (fault,) = await of_check(installed, "record-times", fails=False)
    assert f"topic {topics.chat_messages} holds a record whose time is 3,6" in fault.found
    assert "NTP" in fault.fix


async def test_records_that_were_refused_lately(installed: CommandLine, kafka: KafkaSettings, topics: Topics) -> None:
    async with producer(kafka) as client:
        await client.send_and_wait(topics.dead_letters, b"no json", key=b"ann")
        a_week_ago_ms = int((time.time() - 7 * 24 * 3600) * 1000)
        await client.send_and_wait(topics.dead_letters, b"no json", key=b"ben", timestamp_ms=a_week_ago_ms)
    fault = await only_fault(installed, level="warning")
    assert fault.found == "1 record refused in the last 24 hours"
    assert "memostream watch --dead-letters" in fault.fix


async def test_a_source_that_does_not_exist(installed: CommandLine, tmp_path: Path, topic_prefix: str) -> None:
    source = f"{topic_prefix}orders"
    mapping = {"topic": source, "user_id": "value.user", "content": "value.text", "defaults": {"role": "user"}}
    (tmp_path / "config.yaml").write_text(json.dumps({"ingest": {"sources": [mapping]}}))
    fault = await only_fault(installed)
    assert fault.check == "sources"
    assert source in fault.found
    assert "correct the name, or create the topic" in fault.fix


async def test_strict_makes_a_warning_fail(shell: CommandLine) -> None:
    assert await faults(shell, "--no-model", "--strict", fails=True) == await faults(shell, "--no-model")
