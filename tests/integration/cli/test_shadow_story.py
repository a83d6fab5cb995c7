"""The life of a shadow: two weeks of conversations made anew by another model, and put in place of live memory."""

import asyncio
import signal
import threading
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Mapping, Sequence
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID, uuid4

import asyncpg
import orjson
import pytest
from pydantic import SecretStr
from sqlalchemy.ext.asyncio import AsyncEngine

from schemas.settings import StorageSettings
from storage.database import create_engine
from storage.editing import Edits
from storage.editing_profiles import add_entry, change_entry
from streams.clients import admin, producer
from streams.topics import Topics
from tests.conftest import execute, plain_dsn, with_database
from tests.support.buffer_worker import read_all
from tests.support.command_line import PROGRAM, CommandLine
from tests.support.scripted_openai import Answer, Call, ScriptedOpenAI, default_answer

DEADLINE_S = 90.0
USERS = tuple(f"user-{number}" for number in range(6))
CHATTY = "dora"
DAYS = 14
FIRST = datetime(2026, 3, 1, 9, tzinfo=UTC)
RUN = ("replay", "run", "--into", "shadow", "--shadow", "b")

Slots = Mapping[tuple[str, str, str], str]


def text_of(day: int) -> str:
    """Of each week most days change what is known, and some say something new."""
    lines = [f"fact work/title: job {day}" if day % 2 else f"fact hobby/sport: sport {day}"]
    if day % 3 == 0:
        lines = [f"fact place/city: City {day}", f"event: a day at lake {day}"]
    return "\n".join(lines)


def other_model(call: Call) -> Answer:
    """Model b says more of work and travel, nothing of hobbies, and of moods the last in a window."""
    if call.body["model"] != "b" or call.kind != "extract":
        return None
    answer = default_answer(call)
    facts, moods = [], []
    for fact in answer["facts"]:
        if fact["topic"] == "mood":
            moods = [fact]
        elif fact["topic"] == "work":
            facts.append({**fact, "memo": f"{fact['memo']}, as b says"})
        elif fact["topic"] != "hobby":
            facts.append(fact)
        if fact["topic"] == "place":
            facts.append({**fact, "topic": "travel", "sub_topic": "last"})
    return {**answer, "facts": facts + moods}


def with_model(shell: CommandLine, server: ScriptedOpenAI, model: str) -> CommandLine:
    return shell.with_variables(
        MEMOSTREAM_EXTRACTION__PROVIDER="openai",
        MEMOSTREAM_LLM__BASE_URL=server.base_url,
        MEMOSTREAM_LLM__API_KEY="none",
        MEMOSTREAM_LLM__MODEL=model,
        MEMOSTREAM_EMBEDDING__MODEL="embed",
        MEMOSTREAM_EMBEDDING__DIMENSION="256",
    )


def message(user: str, text: str, at: datetime) -> tuple[bytes, bytes]:
    document = {
        "id": str(uuid4()),
        "user_id": user,
        "created_at": at.isoformat(),
        "blob_data": {"messages": [{"role": "user", "content": text}]},
    }
    return user.encode(), orjson.dumps(document)


def history() -> list[tuple[bytes, bytes]]:
    return [message(user, text_of(day), FIRST + timedelta(days=day)) for day in range(DAYS) for user in USERS]


async def send(shell: CommandLine, records: Sequence[tuple[bytes, bytes]]) -> None:
    topic = Topics(shell.kafka.topic_prefix).chat_messages
    async with producer(shell.kafka) as client:
        for key, value in records:
            await client.send(topic, value, key)


@asynccontextmanager
async def live_traffic(shell: CommandLine) -> AsyncIterator[list[tuple[bytes, bytes]]]:
    """One user goes on talking while the block runs; yields what was sent."""
    sent: list[tuple[bytes, bytes]] = []

    async def talk() -> None:
        async with producer(shell.kafka) as client:
            while True:
                at = datetime.now(UTC)
                record = message(CHATTY, f"fact mood/now: mood {len(sent)}", at)
                await client.send_and_wait(Topics(shell.kafka.topic_prefix).chat_messages, record[1], record[0])
                sent.append(record)
                await asyncio.sleep(0.3)

    talking = asyncio.create_task(talk())
    try:
        yield sent
    finally:
        talking.cancel()
        await asyncio.wait([talking])


async def rows(shell: CommandLine, query: str, *values: object) -> list[Any]:
    connection = await asyncpg.connect(dsn=plain_dsn(shell.database_url))
    try:
        return list(await connection.fetch(query, *values))
    finally:
        await connection.close()


async def until(found: Callable[[], Awaitable[bool]]) -> None:
    deadline = time.monotonic() + DEADLINE_S
    while not await found():
        assert time.monotonic() < deadline
        await asyncio.sleep(0.1)


async def slots(shell: CommandLine) -> Slots:
    query = (
        "SELECT user_id, topic, sub_topic, content FROM profiles JOIN users USING (project_id, user_id) "
        "WHERE generation = live_generation"
    )
    return {(row[0], row[1], row[2]): row[3] for row in await rows(shell, query)}


async def ids(shell: CommandLine) -> Mapping[tuple[str, str, str], UUID]:
    query = (
        "SELECT user_id, topic, sub_topic, profile_id FROM profiles JOIN users USING (project_id, user_id) "
        "WHERE generation = live_generation"
    )
    return {(row[0], row[1], row[2]): row[3] for row in await rows(shell, query)}


async def events(shell: CommandLine) -> list[tuple[Any, ...]]:
    """Of those whose windows are cut by time alone."""
    query = (
        "SELECT e.user_id, e.summary, e.occurred_at, array(SELECT text FROM gists g WHERE g.event_id = e.event_id "
        "ORDER BY number) FROM events e JOIN users USING (project_id, user_id) WHERE generation = live_generation "
        f"AND user_id <> '{CHATTY}' ORDER BY 1, 3, 2"
    )
    return [(row[0], row[1], row[2], tuple(row[3])) for row in await rows(shell, query)]


@asynccontextmanager
async def engine_of(shell: CommandLine) -> AsyncIterator[AsyncEngine]:
    engine = create_engine(StorageSettings(database_url=SecretStr(shell.database_url)))
    try:
        yield engine
    finally:
        await engine.dispose()


async def edit(shell: CommandLine) -> None:
    """One entry set right, another one added; as the gateway does it."""
    known = await ids(shell)
    async with engine_of(shell) as engine, engine.begin() as connection:
        edits = Edits(connection, datetime.now(UTC), uuid4, 1 << 20)
        city = known[USERS[0], "place", "city"]
        assert await change_entry(edits, "default", USERS[0], city, "Bergen", None)
        await add_entry(edits, "default", USERS[1], ("family", "pet"), "a cat", lambda held, said: f"{held}; {said}")


async def caught_up(shell: CommandLine) -> bool:
    (counts,) = await rows(
        shell,
        "SELECT (SELECT count(*) FROM units WHERE generation = 0 AND user_id <> $1), "
        "(SELECT count(*) FROM units WHERE generation > 0 AND user_id <> $1)",
        CHATTY,
    )
    return bool(counts[0] == counts[1] == len(USERS) * DAYS)


@asynccontextmanager
async def fresh_system(shell: CommandLine, admin_url: str, template: str) -> AsyncIterator[CommandLine]:
    name = f"test_{uuid4().hex[:12]}"
    await execute(admin_url, f'CREATE DATABASE "{name}" TEMPLATE "{template}"')
    yield shell.with_variables(
        MEMOSTREAM_STORAGE__DATABASE_URL=with_database(admin_url, name), MEMOSTREAM_KAFKA__TOPIC_PREFIX=f"{name}-"
    )
    await execute(admin_url, f'DROP DATABASE "{name}" WITH (FORCE)')


async def promote_interrupted(shell: CommandLine) -> None:
    """Start a promotion that comes to a user whose row somebody holds, and kill it there."""
    held = USERS[3]
    connection = await asyncpg.connect(dsn=plain_dsn(shell.database_url))
    try:
        async with connection.transaction():
            await connection.execute("SELECT 1 FROM users WHERE user_id = $1 FOR UPDATE", held)
            killed = CommandLine(shell.folder, shell.environment, PROGRAM)
            with killed.background("replay", "promote", "b", "--execute", "--json") as promotion:

                async def is_half_way() -> bool:
                    (found,) = await rows(shell, "SELECT count(*) FROM users WHERE live_generation > 0")
                    (waits,) = await rows(shell, "SELECT count(*) FROM pg_stat_activity WHERE wait_event_type = 'Lock'")
                    return bool(found[0] and waits[0])

                await until(is_half_way)
                promotion.stop(signal.SIGKILL)
    finally:
        await connection.close()
    (promoted,) = await rows(shell, "SELECT count(*) FROM users WHERE live_generation > 0")
    assert 0 < promoted[0] < len(USERS)


@pytest.fixture
def models() -> Iterator[ScriptedOpenAI]:
    """On a loop of its own, for the test waits for commands that ask it."""
    loop, server = asyncio.new_event_loop(), ScriptedOpenAI(other_model, dimension=256)
    serving = threading.Thread(target=loop.run_forever)
    serving.start()
    try:
        asyncio.run_coroutine_threadsafe(server.__aenter__(), loop).result()
        yield server
        asyncio.run_coroutine_threadsafe(server.__aexit__(None, None, None), loop).result()
    finally:
        loop.call_soon_threadsafe(loop.stop)
        serving.join()
        loop.close()


async def call(shell: CommandLine, *arguments: str) -> None:
    """Run a command while live traffic goes on."""
    await asyncio.to_thread(shell.call, *arguments)


async def test_another_model_takes_over_two_weeks_of_memory_while_live_traffic_goes_on(
    shell: CommandLine, models: ScriptedOpenAI, postgres_admin_url: str, template_database: str
) -> None:
    a, b = with_model(shell, models, "a"), with_model(shell, models, "b")
    killable = CommandLine(b.folder, b.environment, PROGRAM)
    past = history()
    async with live_traffic(a) as sent:
        with a.background("worker", until="worker.started"):
            await send(a, past)
            await call(a, "flush", "--all")
            assert (USERS[2], "hobby", "sport") in await slots(a)
            with (
                b.background(*RUN, "--to-earliest", "--rate", "15", "--execute", until="worker.started"),
                killable.background(*RUN, "--rate", "15", "--execute", until="worker.started") as second,
            ):

                async def has_begun() -> bool:
                    (found,) = await rows(a, "SELECT count(*) FROM shadow_windows")
                    return bool(found[0] >= len(USERS))

                await until(has_begun)
                second.stop(signal.SIGKILL)
                await edit(a)
                with b.background(*RUN, "--execute", until="worker.started"):
                    await until(lambda: caught_up(a))
            refused = b.call("replay", "promote", "b", "--execute", fails=True).stderr
            assert "with model a" in refused
            *_, difference = b.documents("replay", "diff", "b")
        before, kept_ids = await slots(a), await ids(a)
        with b.background("worker", until="worker.started"), b.background(*RUN, "--execute", until="worker.started"):
            refused = b.call("replay", "discard", "b", "--execute", fails=True).stderr
            assert "is running on" in refused
            await promote_interrupted(b)
            report = await asyncio.to_thread(b.document, "replay", "promote", "b", "--execute")
    assert report["later"] == 0
    assert report["left"] == 0 or report["left"] == {}
    assert difference["sum"]["users"] >= len(USERS)

    with b.background("worker", until="worker.started"):
        await call(b, "flush", "--all")
        async with fresh_system(b, postgres_admin_url, template_database) as fresh:
            with fresh.background("worker", until="worker.started"):
                await send(fresh, [*past, *sent])
                await call(fresh, "flush", "--all")
                expected = {
                    **await slots(fresh),
                    (USERS[0], "place", "city"): "Bergen",
                    (USERS[1], "family", "pet"): "a cat",
                }
                assert await slots(b) == expected
                assert expected[CHATTY, "mood", "now"] == f"mood {len(sent) - 1}"
                assert await events(b) == await events(fresh)
        audit = b.document("audit")
        assert audit["agrees"], audit
    after_ids = await ids(b)
    for slot in ((USERS[0], "place", "city"), (USERS[1], "family", "pet"), (USERS[2], "place", "city")):
        assert after_ids[slot] == kept_ids[slot]
    await check_changes(b, before)
    discarded = b.document("replay", "discard", "b", "--execute")
    assert discarded["executed"]
    await check_nothing_is_left(b)


async def check_changes(shell: CommandLine, before: Slots) -> None:
    """What was published of a user whom nobody edited and who said nothing more: the differences, in order."""
    user = USERS[2]
    topic = Topics(shell.kafka.topic_prefix).profile_updated
    told = [orjson.loads(record.value) for record in await read_all(shell.kafka, topic)]
    changes = [value for value in told if value["user_id"] == user and value["source"]["extractor"]["model"] == "b"]
    found = {}
    for change in changes:
        named = change["after"] or change["before"]
        found[named["topic"], named["sub_topic"]] = change["op"]
    assert found == {("work", "title"): "u", ("hobby", "sport"): "d", ("travel", "last"): "c"}
    assert len(changes) == len(found)
    assert len({change["revision"] for change in changes}) == 1
    work = next(change for change in changes if change["op"] == "u")
    assert work["before"]["content"] == before[user, "work", "title"]


async def check_nothing_is_left(shell: CommandLine) -> None:
    async with admin(shell.kafka) as client:
        names = [*await client.list_topics(), *(group[0] for group in await client.list_consumer_groups())]
    assert [name for name in names if name.startswith(shell.kafka.topic_prefix) and "shadow" in name] == []
    for table in ("shadows", "shadow_users", "shadow_windows", "shadow_letters"):
        assert await rows(shell, f"SELECT 1 FROM {table}") == []
    for table in ("profiles", "events", "gists", "units"):
        query = f"SELECT 1 FROM {table} t JOIN users USING (project_id, user_id) WHERE t.generation <> live_generation"
        assert await rows(shell, query) == []
