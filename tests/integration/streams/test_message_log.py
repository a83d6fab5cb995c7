"""The gateway's producer on a broker that stops, freezes and comes back: a yes is true, and a no comes in time."""

import asyncio
import os
import signal
from collections.abc import Iterable, Iterator

import orjson
import pytest
from aiokafka.structs import ConsumerRecord

from embedded import EmbeddedKafka
from schemas.errors import InvalidRecord, RetryLater
from schemas.records import Blob, Command, parse_record
from schemas.settings import BufferSettings, KafkaSettings
from schemas.windows import Position
from streams.message_log import KafkaMessageLog, message_log
from streams.topics import Topics, partition_for
from tests.conftest import run_apart
from tests.support.buffer_step import chat, flush
from tests.support.buffer_worker import read_all

PARTITIONS = 3
TIMEOUT_S = 2.0
AT_A_TIME = 32


@pytest.fixture(scope="module")
def broker(tmp_path_factory: pytest.TempPathFactory) -> Iterator[EmbeddedKafka]:
    """One that may be stopped; it runs before and after every test."""
    made = EmbeddedKafka(tmp_path_factory.mktemp("broker"))
    run_apart(made.start())
    yield made
    run_apart(made.stop())


@pytest.fixture
def kafka(broker: EmbeddedKafka, topic_prefix: str) -> KafkaSettings:
    return KafkaSettings(bootstrap_servers=broker.bootstrap_servers, topic_prefix=topic_prefix, partitions=PARTITIONS)


def blob(identifier: str) -> Blob:
    made = parse_record(chat(f"text of {identifier}", user_id=f"user of {identifier}", id=identifier))
    assert not isinstance(made, Command)
    return made


async def tried(log: KafkaMessageLog, identifiers: Iterable[str]) -> dict[str, Position | RetryLater]:
    """What each is answered; anything but a position or RetryLater is a failure."""

    async def one(identifier: str) -> Position | RetryLater:
        try:
            return await log.send_blob(blob(identifier))
        except RetryLater as error:
            return error

    asked = list(identifiers)
    return dict(zip(asked, await asyncio.gather(*(one(identifier) for identifier in asked)), strict=True))


async def until_sent(log: KafkaMessageLog, identifier: str) -> Position:
    while True:
        answer = (await tried(log, [identifier]))[identifier]
        if isinstance(answer, Position):
            return answer


def by_id(records: Iterable[ConsumerRecord]) -> dict[str, list[Position]]:
    found: dict[str, list[Position]] = {}
    for record in records:
        sent = parse_record(orjson.loads(record.value))
        position = Position(
            topic=record.topic, partition=record.partition, offset=record.offset, timestamp_ms=record.timestamp
        )
        found.setdefault(str(sent.id), []).append(position)
    return found


async def test_what_is_sent_lies_where_the_answer_says_and_when(kafka: KafkaSettings) -> None:
    async with message_log(kafka, BufferSettings(max_blob_bytes=1 << 17), 60.0) as log:
        # Several in a batch, at different times.
        sending = []
        for number in range(200):
            sending.append(asyncio.create_task(log.send_blob(blob(f"b{number}"))))
            await asyncio.sleep(0.0005)
        positions = {f"b{number}": await sent for number, sent in enumerate(sending)}
        command = parse_record(flush("user of b1", id="f"))
        assert isinstance(command, Command)
        positions["f"] = await log.send_command(command)
        too_large = parse_record(chat("x" * (1 << 17), id="large"))
        assert not isinstance(too_large, Command)
        with pytest.raises(InvalidRecord, match="max_blob_bytes"):
            await log.send_blob(too_large)
        assert await log.problems() == ()
    records = await read_all(kafka, Topics(kafka.topic_prefix).chat_messages)
    assert by_id(records) == {identifier: [position] for identifier, position in positions.items()}
    assert all(record.partition == partition_for(record.key, PARTITIONS) for record in records)


async def test_a_yes_is_kept_and_a_no_is_meant_while_the_broker_is_killed_away_and_frozen(
    broker: EmbeddedKafka, kafka: KafkaSettings
) -> None:
    answers: dict[str, Position | RetryLater] = {}
    going_on = True

    async def keep_sending(caller: int) -> None:
        number = 0
        while going_on:
            answers.update(await tried(log, [f"{caller}.{number}"]))
            number += 1
            await asyncio.sleep(0.01)

    async with message_log(kafka, BufferSettings(), TIMEOUT_S) as log:
        await until_sent(log, "first")
        callers = [asyncio.create_task(keep_sending(caller)) for caller in range(AT_A_TIME)]
        await asyncio.sleep(1)
        await broker.kill()
        away = await tried(log, [f"away.{number}" for number in range(AT_A_TIME)])
        assert all(isinstance(answer, RetryLater) and answer.delay_s > 0 for answer in away.values())
        # A gateway that is started now begins all the same, and works once the broker is there.
        async with message_log(kafka, BufferSettings(), TIMEOUT_S) as begun_without:
            (answer,) = (await tried(begun_without, ["too early"])).values()
            assert isinstance(answer, RetryLater)
            assert await begun_without.problems() != ()
            await broker.start()
            await until_sent(begun_without, "in time")
            assert await begun_without.problems() == ()
        await until_sent(log, "between")
        assert broker.pid is not None
        os.kill(broker.pid, signal.SIGSTOP)
        frozen = await tried(log, [f"frozen.{number}" for number in range(AT_A_TIME)])
        os.kill(broker.pid, signal.SIGCONT)
        assert all(isinstance(answer, RetryLater) for answer in frozen.values())
        await until_sent(log, "last")
        going_on = False
        await asyncio.gather(*callers)

    found = by_id(await read_all(kafka, Topics(kafka.topic_prefix).chat_messages))
    yes = {identifier: answer for identifier, answer in answers.items() if isinstance(answer, Position)}
    assert {"away.0", "frozen.0"}.isdisjoint(yes)
    assert yes
    assert {identifier: found[identifier] for identifier in yes} == {identifier: [at] for identifier, at in yes.items()}
    # What a producer had not sent when it was given up is not written after all.
    assert not found.keys() & {*away, "too early"}
    assert "in time" in found
    assert all(len(positions) == 1 for positions in found.values())
