"""Faults park parts of a range: mended and redriven, memory is as it is without them."""

import asyncio
import time
from collections.abc import AsyncIterator, Mapping
from datetime import UTC, datetime
from typing import Any

import asyncpg
import orjson
import pytest

from schemas.settings import BufferSettings
from streams.clients import producer
from streams.topics import Topics, ensure_topics
from tests.conftest import EMBEDDING_DIMENSION, plain_dsn
from tests.support.buffer_worker import read_all
from tests.support.command_line import CommandLine
from tests.support.scripted_openai import Answer, Call, ScriptedOpenAI, refusal

DEADLINE_S = 60.0
# A day apart, months ago, so that each day is a window of its own.
FIRST_S, DAY_S = 1_772_400_000, 86_400
POISON = "fact interest/sports: shouting"
LARGE = "L" * 200_000
SMALL_BYTES, ROOMY_BYTES = 1 << 17, 1 << 19

# User, day, messages, fields. What Bo says on one day has one time, so only the order tells which city is newer.
SAID: list[tuple[str, int, tuple[str, ...], dict[str, str]]] = [
    ("ann", 0, ("fact contact_info/city: Bergen", "event: moved to Bergen"), {}),
    ("bo", 0, (f"{POISON} at Bergen\nfact contact_info/city: Bergen",), {}),
    ("cy", 0, ("fact interest/books: crime", "event: read a book"), {}),
    ("bo", 0, (f"{POISON} at Oslo\nfact contact_info/city: Oslo",), {}),
    ("ann", 1, (f"{POISON}\nfact contact_info/city: Oslo\nevent: moved to Oslo",), {}),
    ("cy", 0, ("fact interest/music: jazz\nevent: heard jazz", f"{POISON}\nevent: shouted a lot"), {}),
    ("cy", 0, ("fact interest/foods: figs",), {}),
    ("ann", 2, ("fact work/title: welder\nevent: works as a welder",), {"pad": LARGE}),
    ("bo", 1, ("fact basic_info/name: Bo",), {"pad": LARGE}),
    ("bo", 2, ("fact work/title: baker",), {}),
    ("ann", 3, ("fact contact_info/city: Leeds\nevent: moved to Leeds",), {}),
]


def refuses(call: Call) -> Answer:
    return refusal() if call.kind == "extract" and POISON in call.input else None


@pytest.fixture
async def model() -> AsyncIterator[ScriptedOpenAI]:
    async with ScriptedOpenAI(dimension=EMBEDDING_DIMENSION) as server:
        yield server


async def say_all(shell: CommandLine, project: str) -> None:
    async with producer(shell.kafka) as client:
        for number, (user, day, texts, fields) in enumerate(SAID):
            value = {
                "id": f"{user}-{number}",
                "project_id": project,
                "user_id": user,
                "created_at": datetime.fromtimestamp(FIRST_S + day * DAY_S, UTC).isoformat(),
                "fields": fields,
                "blob_data": {"messages": [{"role": "user", "content": text} for text in texts]},
            }
            await client.send_and_wait(
                Topics(shell.kafka.topic_prefix).chat_messages, orjson.dumps(value), user.encode()
            )


async def letters(shell: CommandLine, wanted: Mapping[str, tuple[str, int]]) -> None:
    """Wait until these are open: by blob the reason, and how often it has failed."""
    deadline = time.monotonic() + DEADLINE_S
    while True:
        listed = await asyncio.to_thread(shell.documents, "dead-letters", "list", "--project", "faulty")
        found = {letter["blob_ids"][0]: (letter["reason"], letter["times"]) for letter in listed}
        if found == wanted:
            return
        assert time.monotonic() < deadline, found
        await asyncio.sleep(0.2)


async def redrive(shell: CommandLine) -> int:
    done = await asyncio.to_thread(shell.document, "dead-letters", "redrive", "--execute")
    await asyncio.to_thread(shell.call, "flush", "--all")
    return int(done["letters"])


# What memory holds of a project, without ids that it made itself and without when it was recorded. A window that is
# parked in part becomes several events, so their lines are compared, and the events of those whose windows were not.
QUERIES = {
    "profiles": "SELECT user_id, topic, sub_topic, content, occurred_at FROM profiles WHERE project_id = $1",
    "lines": "SELECT user_id, text, message_ids, session_ids, occurred_at FROM gists WHERE project_id = $1",
    "events": "SELECT user_id, summary, tags, profile_delta, message_ids, occurred_at FROM events "
    "WHERE project_id = $1 AND user_id = 'ann'",
    "units": "SELECT DISTINCT user_id, blob_id, blob_type, state, reason FROM units WHERE project_id = $1",
}


async def memory(shell: CommandLine, project: str) -> dict[str, list[str]]:
    connection = await asyncpg.connect(dsn=plain_dsn(shell.database_url))
    try:
        return {
            name: sorted(str(tuple(row)) for row in await connection.fetch(query, project))
            for name, query in QUERIES.items()
        }
    finally:
        await connection.close()


# Whatever extraction and the relay leave behind.
TABLES = ("users", "profiles", "profile_history", "events", "gists", "units", "ledger", "usage", "outbox")


async def traces(shell: CommandLine, model: ScriptedOpenAI) -> tuple[int, list[int], dict[str, str]]:
    """Calls of the model, records on the topics of changes, and every row as it stands."""
    topics = Topics(shell.kafka.topic_prefix)
    changes = (topics.profile_updated, topics.event_updated, topics.profiles)
    counts = [len(await read_all(shell.kafka, topic)) for topic in changes]
    connection = await asyncpg.connect(dsn=plain_dsn(shell.database_url))
    try:
        rows = {
            table: await connection.fetchval(f"SELECT md5(string_agg(t::text, ' ' ORDER BY t::text)) FROM {table} t")
            for table in TABLES
        }
    finally:
        await connection.close()
    return len(model.calls), counts, rows


async def relayed(shell: CommandLine) -> None:
    """Wait until all changes are on their topics."""
    connection = await asyncpg.connect(dsn=plain_dsn(shell.database_url))
    try:
        async with asyncio.timeout(DEADLINE_S):
            while await connection.fetchval("SELECT count(*) FROM outbox"):
                await asyncio.sleep(0.1)
    finally:
        await connection.close()


async def published(shell: CommandLine, project: str) -> dict[str, list[Any]]:
    """What the change topics end on: whole profiles, each slot after its last change, and the lines of events."""
    topics = Topics(shell.kafka.topic_prefix)
    states: dict[str, Any] = {}
    for record in await read_all(shell.kafka, topics.profiles):
        value = orjson.loads(record.value)
        if value["project_id"] == project:
            states[value["user_id"]] = [slot_of(entry) for entry in value["profile"]]
    slots: dict[Any, Any] = {}
    for record in await read_all(shell.kafka, topics.profile_updated):
        value = orjson.loads(record.value)
        if value["project_id"] == project:
            entry = value["after"] or value["before"]
            slots[value["user_id"], entry["topic"], entry["sub_topic"]] = value["after"] and slot_of(entry)
    lines = [
        (value["user_id"], gist["text"])
        for record in await read_all(shell.kafka, topics.event_updated)
        if (value := orjson.loads(record.value))["project_id"] == project
        for gist in value["after"]["gists"]
    ]
    return {"states": sorted(states.items()), "slots": sorted(slots.items()), "lines": sorted(lines)}


def slot_of(entry: Mapping[str, Any]) -> tuple[str, ...]:
    return tuple(str(entry[name]) for name in ("topic", "sub_topic", "content", "occurred_at"))


async def test_what_faults_parked_ends_as_without_them_and_a_replay_into_live_then_changes_nothing(
    shell: CommandLine, model: ScriptedOpenAI
) -> None:
    # A limit that is set too low by mistake: the topics take more.
    await ensure_topics(shell.kafka.model_copy(update={"partitions": 2}), BufferSettings(max_blob_bytes=ROOMY_BYTES))
    small = shell.with_variables(
        MEMOSTREAM_EXTRACTION__PROVIDER="openai",
        MEMOSTREAM_LLM__BASE_URL=model.base_url,
        MEMOSTREAM_EMBEDDING__DIMENSION=str(EMBEDDING_DIMENSION),
        MEMOSTREAM_BUFFER__MAX_BLOB_BYTES=str(SMALL_BYTES),
    )
    refused = dict.fromkeys(("bo-1", "bo-3", "ann-4", "cy-5"), ("content-rejected", 1))
    model.answer = refuses
    with small.background("worker", until="worker.started"):
        await say_all(small, "faulty")
        await asyncio.to_thread(small.call, "flush", "--all")
        await letters(small, refused | {"ann-7": ("too-large", 1), "bo-8": ("too-large", 1)})
        # One cause is mended, and what has another fails again.
        model.answer = None
        assert await redrive(small) == len(refused) + 2
        await letters(small, {"ann-7": ("too-large", 2), "bo-8": ("too-large", 2)})
    roomy = small.with_variables(MEMOSTREAM_BUFFER__MAX_BLOB_BYTES=str(ROOMY_BYTES))
    with roomy.background("worker", until="worker.started"):
        assert await redrive(roomy) == 2
        await letters(roomy, {})
        await say_all(roomy, "whole")
        await asyncio.to_thread(roomy.call, "flush", "--all")
        mended, without = await memory(roomy, "faulty"), await memory(roomy, "whole")
        assert mended == without
        assert all(mended.values())
        assert (await redrive(roomy), await memory(roomy, "faulty")) == (0, without)
        await relayed(roomy)
        audited = await asyncio.to_thread(roomy.document, "audit")
        assert audited["agrees"], audited
        assert await published(roomy, "faulty") == await published(roomy, "whole")

        before = await traces(roomy, model)
        again = await asyncio.to_thread(roomy.document, "replay", "run", "--to-earliest", "--execute")
        assert (again["send"], again["sent"]) == ({}, 0)
        assert await traces(roomy, model) == before
    assert "'Oslo'" in str([row for row in mended["profiles"] if "'bo'" in row])
