"""Audit on records that take other ways: refused, misplaced, null, redriven, lost."""

import orjson
from aiokafka import AIOKafkaProducer

from streams.clients import producer
from streams.topics import Topics, partition_for
from tests.conftest import execute
from tests.support.command_line import CommandLine


def topics_of(shell: CommandLine) -> Topics:
    return Topics(shell.environment["MEMOSTREAM_KAFKA__TOPIC_PREFIX"])


def chat(user_id: str, text: str) -> bytes:
    return orjson.dumps({"user_id": user_id, "blob_data": {"messages": [{"role": "user", "content": text}]}})


async def test_every_way_of_a_record_has_its_name(working: CommandLine) -> None:
    right = partition_for(b"ann", 2)
    topics = topics_of(working)
    async with producer(working.kafka) as client:
        misplaced = await send(client, topics, b"ann", chat("ann", "I work as a nurse."), 1 - right)
        await send(client, topics, b"ann", chat("ann", "I live in Bergen."), right)
        await send(client, topics, None, chat("ann", "I have a dog."), right)
        await send(client, topics, b"ann", b"no json", right)
        await send(client, topics, b"ann", None, right)
    # What is forwarded may come behind the first flush, not behind the second.
    working.call("flush", "--all")
    working.call("flush", "--all")
    account = working.document("audit")
    counts = {name: count for name, count in account["counts"].items() if count and name != "command"}
    assert counts == {"applied": 3, "forwarded": 2, "parked": 1, "null": 1}
    assert account["agrees"]

    # The copy lies on the other partition, outside this range.
    offsets = ("--from-offset", str(misplaced), "--to-offset", str(misplaced + 1))
    part = working.document("audit", "--topic-partition", str(1 - right), *offsets)
    assert {name: count for name, count in part["counts"].items() if count} == {"forwarded": 1}


async def test_one_lost_record_is_found_and_named(working: CommandLine) -> None:
    users = [f"user-{number}" for number in range(10)]
    file = working.folder / "chats.jsonl"
    file.write_bytes(b"\n".join(chat(user, "I live in Bergen.") for user in users))
    working.call("send", str(file))
    working.call("flush", "--all")
    assert working.document("audit")["agrees"]
    database_url = working.database_url
    await execute(database_url, "DELETE FROM units WHERE user_id = 'user-3'")
    account = working.document("audit", fails=True)
    assert account["counts"]["missing"] == len(account["missing"]) == 1
    assert account["missing"][0]["partition"] == partition_for(b"user-3", 2)


async def send(client: AIOKafkaProducer, topics: Topics, key: bytes | None, value: bytes | None, partition: int) -> int:
    """Send on that partition and return the offset."""
    metadata = await client.send_and_wait(topics.chat_messages, value, key, partition)
    return int(metadata.offset)
