"""`memostream replay status`, `diff` and `discard` on a broker and a database."""

from collections.abc import AsyncIterator

import pytest
from aiokafka.admin import NewPartitions
from pydantic import SecretStr
from sqlalchemy import func, select
from sqlalchemy.ext.asyncio import AsyncEngine

from cli.replay_range import Bound, ReplayRange
from cli.replay_shadow import make_shadow, plan_shadow
from schemas.settings import Settings, StorageSettings
from storage.database import create_engine
from storage.shadow_tables import shadows
from storage.shadows import deciding
from storage.tables import profiles
from streams.clients import admin, consumer, producer
from streams.discarding import delete_topics
from streams.topics import Topics, ensure_topics, partition_for
from tests.integration.storage.builders import application, change, remember, unit, update, window
from tests.integration.storage.shadow_rows import apply_in_shadow
from tests.support.command_line import CommandLine

TEXTS = ("I moved to Oslo.", "I work as a baker.", "I have a dog.")


@pytest.fixture
async def engine(database_url: str) -> AsyncIterator[AsyncEngine]:
    engine = create_engine(StorageSettings(database_url=SecretStr(database_url)))
    yield engine
    await engine.dispose()


@pytest.fixture
async def settings(shell: CommandLine) -> Settings:
    """Of an installation with three messages on `chat-messages`, on which nothing runs."""
    settings = Settings(kafka=shell.kafka, storage=StorageSettings(database_url=SecretStr(shell.database_url)))
    await ensure_topics(settings.kafka, settings.buffer)
    for text in TEXTS:
        shell.call("send", "--user", "ann", text)
    return settings


async def make(settings: Settings, name: str, topic: str) -> int:
    wanted = ReplayRange(topic, None, Bound(), Bound())
    return (await make_shadow(settings, name, await plan_shadow(settings, wanted, quiet=True), None)).generation


async def names_in_kafka(settings: Settings) -> set[str]:
    async with admin(settings.kafka) as client:
        names = {*await client.list_topics(), *(group[0] for group in await client.list_consumer_groups())}
    return {name for name in names if name.startswith(settings.kafka.topic_prefix)}


async def test_a_shadow_is_looked_at_compared_and_removed_without_a_trace(
    shell: CommandLine, settings: Settings, engine: AsyncEngine
) -> None:
    assert shell.call("replay", "status").stdout == "there is no shadow\n"
    before = await names_in_kafka(settings)
    topics = Topics(settings.kafka.topic_prefix)
    generation = await make(settings, "better", topics.chat_messages)
    await remember(engine, "b1", "Acme")
    memory = update(change("company", None, "Hooli"), change("title", None, "baker"))
    await apply_in_shadow(engine, generation, application(window(unit("b1", 1)), memory=memory))

    status = shell.document("replay", "status", "better")
    assert (status["state"], status["behind"], status["workers"], status["users"], status["windows"]) == (
        "running",
        3,
        0,
        1,
        1,
    )
    assert [stage["behind"] for stage in status["stages"]] == [3, 0]
    assert "better" in shell.call("replay", "status").stdout

    user, total = shell.documents("replay", "diff", "better")
    assert (user["user_id"], user["changed"], user["added"], user["same"]) == ("ann", 1, 1, 0)
    assert [(slot["kind"], slot["live"], slot["shadow"]) for slot in user["samples"]] == [
        ("changed", "Acme", "Hooli"),
        ("added", None, "baker"),
    ]
    assert (total["sum"]["users"], total["unknown_users"]) == (1, 0)
    report = shell.call("replay", "diff", "better", "--user", "ann").stdout
    assert "Hooli" in report
    assert "default/ann" in report
    assert "has nothing of user zoe" in shell.call("replay", "diff", "better", "--user", "zoe", fails=True).stderr

    assert (
        "has nothing of project typo" in shell.call("replay", "diff", "better", "--project", "typo", fails=True).stderr
    )

    group = f"{settings.kafka.topic_prefix}memostream-shadow-better-buffer"
    async with consumer(settings.kafka, topics.chat_messages, group_id=group) as member:
        await member.getone()
        assert shell.document("replay", "status", "better")["workers"] == 1
        refused = shell.call("replay", "discard", "better", "--execute", fails=True)
        assert "running on 1 workers: stop them first" in refused.stderr

    async with deciding(engine, settings.kafka.topic_prefix, "better"):
        for command in ("promote", "discard"):
            refused = shell.call("replay", command, "better", "--execute", fails=True)
            assert "is being promoted or discarded by another process" in refused.stderr
    assert shell.document("replay", "discard", "better")["executed"] is False
    assert await names_in_kafka(settings) > before
    # As if it had been stopped before it came to the rows.
    async with admin(settings.kafka) as client:
        await delete_topics(client, [f"{settings.kafka.topic_prefix}shadow-better-extraction-windows"])
    removed = shell.document("replay", "discard", "better", "--execute")
    assert (removed["executed"], removed["removed_users"]) == (True, 1)
    assert await names_in_kafka(settings) == before
    async with engine.connect() as connection:
        assert await connection.scalar(select(func.count()).select_from(shadows)) == 0
        assert list((await connection.scalars(select(profiles.c.content))).all()) == ["Acme"]
    assert "there is no shadow better" in shell.call("replay", "discard", "better", "--execute", fails=True).stderr


async def test_a_shadow_of_nobody_or_on_topics_that_do_not_fit_is_not_made(
    shell: CommandLine, settings: Settings, engine: AsyncEngine
) -> None:
    run = ("replay", "run", "--into", "shadow", "--shadow", "b", "--to-earliest", "--execute")
    before = await names_in_kafka(settings)
    count = settings.kafka.partitions
    beside_ann = partition_for(b"ann", count)
    stranger = next(name for name in map(str, range(99)) if partition_for(name.encode(), count) == beside_ann)
    refused = shell.call(*run, "--user", stranger, fails=True).stderr
    assert f"the range holds nothing of user {stranger}: check the ids" in refused
    async with admin(settings.kafka) as client:
        windows = Topics(settings.kafka.topic_prefix).extraction_windows
        await client.create_partitions({windows: NewPartitions(total_count=9)})
    refused = shell.call(*run, fails=True).stderr
    assert "must have the same number of partitions" in refused
    assert "extraction-windows has 9" in refused
    assert "must have the same number" in shell.call("replay", "plan", "--to-earliest", fails=True).stderr
    assert await names_in_kafka(settings) == before
    async with engine.connect() as connection:
        assert await connection.scalar(select(func.count()).select_from(shadows)) == 0


async def test_a_shadow_that_is_made_from_live_windows_leaves_their_topic_alone(
    shell: CommandLine, settings: Settings
) -> None:
    before = await names_in_kafka(settings)
    topic = Topics(settings.kafka.topic_prefix).extraction_windows
    async with producer(settings.kafka) as client:
        await client.send_and_wait(topic, window(unit("b1")).model_dump_json().encode(), b"ann")
    await make(settings, "again", topic)
    assert [stage["behind"] for stage in shell.document("replay", "status", "again")["stages"]] == [1]
    removed = shell.document("replay", "discard", "again", "--execute")
    assert removed["topics"] == []
    assert await names_in_kafka(settings) == before
