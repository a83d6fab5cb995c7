"""Re-embedding on a real database: search stays right before, while and after, and nothing is done twice or lost."""

import asyncio
import signal
from collections.abc import AsyncIterator, Callable, Sequence
from dataclasses import replace
from decimal import Decimal
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext
from numpy.typing import NDArray
from pydantic import SecretStr
from sqlalchemy import Connection, text, update
from sqlalchemy.ext.asyncio import AsyncEngine

from agents.dependencies import ReembeddingDeps
from agents.embedding_filler import EmbeddingFiller
from cli.reembedding import Limits, finish, give_up, plan, read_status, run
from schemas.errors import ConfigurationError, Conflict
from schemas.memory import EmbeddingModel, Usage
from schemas.settings import EmbeddingSettings, PriceSettings, Settings, StorageSettings
from storage.columns import metadata
from storage.database import create_engine
from storage.migrate import migrate
from storage.tables import gists
from storage.vector_columns import vector_column, watch_vectors
from tests.integration.storage.builders import application, apply_once, remember, unit, window
from tests.integration.storage.builders import update as memory_of
from tests.support.command_line import CommandLine
from tests.support.http_gateway import client_of, gateway_on
from tests.support.memories import Meanings, Memories, meaning

ONCE = Limits(concurrency=2, rate=None, until_ready=True)
FOLLOWING = Limits(concurrency=1, rate=None, until_ready=False)
COLUMNS = """
    SELECT attrelid::regclass::text, attname, format_type(atttypid, atttypmod), pg_get_expr(adbin, adrelid)
    FROM pg_attribute LEFT JOIN pg_attrdef ON adrelid = attrelid AND adnum = attnum
    WHERE attrelid IN ('profiles'::regclass, 'gists'::regclass, 'events'::regclass) AND attnum > 0 AND NOT attisdropped
    UNION ALL SELECT tablename, indexname, indexdef, NULL FROM pg_indexes WHERE schemaname = 'public' ORDER BY 1, 2
"""


class Turned(Meanings):
    """The same meanings by another model: on other axes, so that a vector of the one means another thing to the other.

    `between` is called with the texts of each call, before it is answered.
    """

    def __init__(self, dimension: int, between: Callable[[Sequence[str]], Any] | None = None) -> None:
        super().__init__()
        self.dimension = dimension
        self._between = between

    async def embed(self, texts: Sequence[str], *, are_questions: bool = False) -> tuple[NDArray[np.float32], Usage]:
        self.calls.append((list(texts), are_questions))
        if self._between is not None:
            await self._between(texts)
        vectors = np.zeros((len(texts), self.dimension), dtype=np.float32)
        for row, body in enumerate(texts):
            vectors[row, :4] = np.roll(meaning(body)[:4], 1)
        return vectors, Usage(embedding_calls=1, embedding_tokens=len(texts)).of_model("turned")


@pytest.fixture
async def engine(database_url: str) -> AsyncIterator[AsyncEngine]:
    engine = create_engine(StorageSettings(database_url=SecretStr(database_url)))
    yield engine
    await engine.dispose()


@pytest.fixture
async def present(database_url: str) -> Settings:
    """The configuration in use, with which a worker has started before."""
    settings = Settings(storage=StorageSettings(database_url=SecretStr(database_url)))
    await started(settings)
    return settings


def following(present: Settings, dimension: int = 8) -> Settings:
    """The configuration that is to follow."""
    return present.model_copy(update={"embedding": EmbeddingSettings(model="turned", dimension=dimension)})


async def started(settings: Settings) -> None:
    """What each process does first."""
    await migrate(
        settings.storage.database_url.get_secret_value(),
        embedding_dimension=settings.embedding_dimension,
        embedding_model=settings.embedding_model,
    )


async def search_by(engine: AsyncEngine, settings: Settings, embedder: Meanings, query: str, mode: str) -> Any:
    """What a gateway with these settings answers."""
    holds_vectors = watch_vectors(engine, settings.embeds_by)
    gateway = gateway_on(engine, settings, embedder=embedder, holds_vectors=holds_vectors)
    async with client_of(gateway) as http:
        response = await http.get("/api/v1/users/search/ann", params={"query": query, "mode": mode})
        similar = await http.get("/api/v1/users/event_gist/search/ann", params={"query": query})
    answer = response.json()
    if answer["errno"]:
        return answer["errno"], similar.json()["errno"]
    found = [item["content"] for item in answer["data"]["results"]]
    return found, similar.json()["data"] and len(similar.json()["data"]["gists"]), answer["data"]["degraded"]


async def texts_without(engine: AsyncEngine, column: str) -> list[str]:
    query = text(
        f"SELECT content FROM profiles WHERE {column} IS NULL UNION ALL SELECT text FROM gists WHERE {column} IS NULL "
        f"UNION ALL SELECT summary FROM events WHERE {column} IS NULL AND summary <> '' ORDER BY 1"
    )
    async with engine.connect() as connection:
        return list((await connection.execute(query)).scalars())


async def layout_of(engine: AsyncEngine) -> list[Any]:
    async with engine.connect() as connection:
        return [tuple(row) for row in await connection.execute(text(COLUMNS))]


@pytest.mark.parametrize("dimension", [8, 256])
async def test_search_is_right_before_while_and_after(engine: AsyncEngine, present: Settings, dimension: int) -> None:
    old, new = Meanings(), Turned(dimension)
    next_settings = following(present, dimension)
    memories = Memories(engine)
    await memories.event("a dog", "her cat", "a job")
    await memories.entry("interest", "drinks", "green tea")
    seen = []

    async def search_meanwhile(_: Sequence[str]) -> None:
        seen.append(await search_by(engine, present, old, "puppy", "vector"))

    await run(next_settings, Turned(dimension, search_meanwhile), ONCE, lambda: None)
    assert seen
    assert all(found == (["her cat"], 1, None) for found in seen)
    assert await texts_without(engine, "next_embedding") == []

    # Both models are there: whoever has been restarted searches by the next one, whoever has not by the one before.
    await started(next_settings)
    await started(present)
    for settings, embedder in ((present, old), (next_settings, new)):
        assert await search_by(engine, settings, embedder, "office", "vector") == (["a job"], 1, None)
        assert await search_by(engine, settings, embedder, "beverage drink", "hybrid") == (["green tea"], 0, None)

    await finish(next_settings, execute=True)
    assert await search_by(engine, next_settings, new, "office", "vector") == (["a job"], 1, None)
    # Who was not restarted finds by words, says so, and finds nothing by vectors of the other model.
    found, _, degraded = await search_by(engine, present, old, "job", "hybrid")
    assert (found, "another" in degraded) == (["a job"], True)
    assert await search_by(engine, present, old, "office", "vector") == (503, 503)
    await started(next_settings)
    with pytest.raises(ConfigurationError, match="memostream reembed"):
        await started(present)


async def test_after_the_end_the_tables_are_those_of_a_database_made_for_the_next_model(
    engine: AsyncEngine, present: Settings
) -> None:
    await Memories(engine).event("a dog", "her cat")
    before = await layout_of(engine)
    for dimension in (8, 16):
        await run(following(present, dimension), Turned(dimension), ONCE, lambda: None)
        await finish(present, execute=True)
    after = await layout_of(engine)
    assert [(row[0], row[1], row[3]) for row in after] == [(row[0], row[1], row[3]) for row in before]
    assert {row[2] for row in after if row[1] == "embedding"} == {"halfvec(16)"}
    assert [row for row in after if row[1].endswith("embed_after")] == [
        row for row in before if row[1].endswith("embed_after")
    ]
    async with engine.connect() as connection:
        assert await connection.run_sync(_differences) == []


async def test_what_is_written_and_changed_meanwhile_is_embedded_by_both(
    engine: AsyncEngine, present: Settings
) -> None:
    next_settings, both = following(present), asyncio.Event()
    await Memories(engine).event("a dog", "her cat")
    new = Turned(8)
    running = asyncio.create_task(run(next_settings, new, FOLLOWING, both.set))
    await both.wait()
    await Memories(engine).event("a puppy", "works in an office")
    await remember(engine, "b1", "works at Acme", offset=1)
    await remember(engine, "b2", "works at the city office", offset=2)
    async with engine.begin() as connection:
        await connection.execute(update(gists).where(gists.c.text == "her cat").values(text="her tea"))
        stale = await connection.execute(text("SELECT embedding, next_embedding FROM gists WHERE text = 'her tea'"))
        assert stale.one() == (None, None)
    async with asyncio.timeout(60):
        while await texts_without(engine, "next_embedding"):
            await asyncio.sleep(0.05)
    assert await search_by(engine, next_settings, new, "coffee", "vector") == (["her tea"], 1, None)
    found = ["works in an office", "works at the city office"]
    assert await search_by(engine, next_settings, new, "career", "vector") == (found, 1, None)
    await finish(next_settings, execute=True)
    async with asyncio.timeout(60):
        assert await running


async def test_each_writer_puts_vectors_where_those_of_its_model_belong(engine: AsyncEngine, present: Settings) -> None:
    await run(following(present, 256), Turned(256), ONCE, lambda: None)
    models = (present.embeds_by, following(present, 256).embeds_by, EmbeddingModel("unknown", 256))
    for number, model in enumerate(models):
        wanted = application(
            window(unit(f"b{number}"), user_id=f"u{number}"), memory=memory_of(gists=["a gist"], summary="a summary")
        )
        await apply_once(engine, replace(wanted, embeds_by=model))
    query = text(
        "SELECT user_id, embedding IS NULL, next_embedding IS NULL FROM gists UNION ALL "
        "SELECT user_id, embedding IS NULL, next_embedding IS NULL FROM events ORDER BY 1"
    )
    async with engine.connect() as connection:
        found = [tuple(row) for row in await connection.execute(query)]
    assert found == [
        *[("u0", False, True)] * 2,
        *[("u1", True, False)] * 2,
        *[("u2", True, True)] * 2,
    ]


async def test_the_end_waits_for_who_writes_and_their_vectors_do_not_outlive_it(
    engine: AsyncEngine, present: Settings
) -> None:
    next_settings = following(present, 256)
    await Memories(engine).event("a dog", "her cat")
    await run(next_settings, Turned(256), ONCE, lambda: None)
    waits = text("SELECT count(*) FROM pg_locks WHERE NOT granted AND mode = 'AccessExclusiveLock'")
    async with engine.connect() as writer, engine.connect() as observer:
        assert await vector_column(writer, present.embeds_by) == "embedding"
        ending = asyncio.create_task(finish(next_settings, execute=True))
        async with asyncio.timeout(60):
            while not await observer.scalar(waits):
                await observer.rollback()
                await asyncio.sleep(0.01)
        # Longer than it waits at a time: it gives way, and others are not held up behind it.
        await writer.execute(text("SELECT pg_sleep(0.7)"))
        await writer.execute(text("UPDATE gists SET embedding = embedding"))
        await writer.commit()
        async with asyncio.timeout(60):
            await ending
    async with engine.connect() as connection:
        assert await vector_column(connection, present.embeds_by) is None
        assert await vector_column(connection, next_settings.embeds_by) == "embedding"
    assert await search_by(engine, next_settings, Turned(256), "puppy", "vector") == (["her cat"], 1, None)


async def test_a_filler_of_the_model_before_rests_and_that_of_the_next_goes_on(
    engine: AsyncEngine, present: Settings
) -> None:
    next_settings = following(present, 256)
    await Memories(engine).event("a dog", "her cat")
    old, new = Meanings(), Turned(256)
    await run(next_settings, new, ONCE, lambda: None)
    fillers = [
        EmbeddingFiller(ReembeddingDeps(engine, settings.embeds_by), embedder)
        for settings, embedder in ((present, old), (next_settings, new))
    ]
    await Memories(engine, is_embedded=False).event(None, "a job")
    assert [await filler.fill_some() for filler in fillers] == [1, 1]
    assert (await texts_without(engine, "embedding"), await texts_without(engine, "next_embedding")) == ([], [])
    await finish(next_settings, execute=True)
    await Memories(engine, is_embedded=False).event(None, "green tea")
    assert [await filler.fill_some() for filler in fillers] == [0, 1]
    assert [filler.column for filler in fillers] == [None, "embedding"]
    assert await search_by(engine, next_settings, new, "coffee", "vector") == (["green tea"], 1, None)


async def test_two_runs_at_once_embed_each_text_once(engine: AsyncEngine, present: Settings) -> None:
    await Memories(engine, is_embedded=False).event(None, *(f"dog {number}" for number in range(300)))
    embedders = [Turned(8), Turned(8)]
    await asyncio.gather(*(run(following(present), embedder, ONCE, lambda: None) for embedder in embedders))
    done = [line for embedder in embedders for texts, _ in embedder.calls for line in texts if line != "memory"]
    assert len(done) == len(set(done)) == 300
    assert await texts_without(engine, "next_embedding") == []


async def test_giving_up_leaves_nothing_behind_and_ends_what_runs(engine: AsyncEngine, present: Settings) -> None:
    await Memories(engine).event("a dog", "her cat")
    before = await layout_of(engine)
    is_ready = asyncio.Event()
    running = asyncio.create_task(run(following(present), Turned(8), FOLLOWING, is_ready.set))
    await is_ready.wait()
    assert (await read_status(present)).runs == 1
    await give_up(present, execute=False)
    assert await layout_of(engine) != before
    await give_up(present, execute=True)
    async with asyncio.timeout(60):
        assert not await running
    assert await layout_of(engine) == before
    status = await read_status(present)
    assert (status.stored.next_model, status.by_table, status.runs) == (None, {}, 0)
    assert await search_by(engine, present, Meanings(), "puppy", "vector") == (["her cat"], 1, None)


async def test_a_text_that_the_model_does_not_know_is_counted_and_holds_up_nothing(
    engine: AsyncEngine, present: Settings
) -> None:
    await Memories(engine, is_embedded=False).event(None, "qwrtz", "a job")
    prices = PriceSettings.model_validate({"models": {"turned": {"embedding_per_million": 2}}})
    next_settings = following(present).model_copy(update={"prices": prices})
    made = await plan(next_settings)
    assert (made.total.missing, made.total.tokens, made.calls, made.cost) == (2, 4, 1, Decimal("0.000008"))
    await run(next_settings, Turned(8), ONCE, lambda: None)
    status = await read_status(next_settings)
    found = status.by_table["gists"]
    assert (found.texts, found.embedded, found.missing, found.refused) == (2, 1, 0, 1)
    assert await finish(next_settings, execute=True) == next_settings.embeds_by
    async with engine.connect() as connection:
        spent = await connection.execute(text("SELECT model, outcome, sum(embedding_tokens) FROM usage GROUP BY 1, 2"))
        assert [tuple(row) for row in spent] == [("turned", "re-embedded", 2)]


async def test_killed_in_the_middle_it_goes_on_where_it_was(
    engine: AsyncEngine, present: Settings, tmp_path: Path, database_url: str
) -> None:
    await Memories(engine, is_embedded=False).event(None, *(f"dog {number}" for number in range(150)))
    shell = CommandLine.of(tmp_path, kafka="127.0.0.1:1", database_url=database_url, prefix="").with_variables(
        MEMOSTREAM_EMBEDDING__DIMENSION="64"
    )
    slow = ("reembed", "run", "--execute", "--concurrency", "1", "--rate", "20")
    done = text("SELECT gist_id, ctid::text FROM gists WHERE next_embedding IS NOT NULL ORDER BY 1")
    before: list[Any] = []
    with shell.background(*slow) as background:
        async with asyncio.timeout(60):
            while not before:
                await asyncio.sleep(0.05)
                async with engine.connect() as connection:
                    if await connection.scalar(text("SELECT next_embedding_model FROM schema_info")) is not None:
                        before = [tuple(row) for row in await connection.execute(done)]
        assert background.stop(signal.SIGKILL) == -signal.SIGKILL
    async with engine.begin() as connection:
        # As if it had died with a batch in its hands.
        await connection.execute(
            text(
                "UPDATE gists SET next_embed_after = now() + interval '250 s' WHERE gist_id IN "
                "(SELECT gist_id FROM gists WHERE next_embedding IS NULL LIMIT 64)"
            )
        )
    assert 0 < len(before) < 150
    shorter = present.model_copy(update={"embedding": EmbeddingSettings(dimension=64)})
    with pytest.raises(ConfigurationError, match="still being made"):
        await started(shorter)
    halfway = shell.document("reembed", "status")
    assert (halfway["is_ready"], halfway["tables"]["gists"]["missing"] > 0) == (False, True)
    assert "not embedded" in shell.call("reembed", "finish", "--execute", fails=True).stderr
    shell.run("reembed", "run", "--execute", "--until-ready")
    async with engine.connect() as connection:
        after = [tuple(row) for row in await connection.execute(done)]
    assert len(after) == 150
    # What was there was not embedded again.
    assert set(before) <= set(after)
    assert shell.document("reembed", "status")["is_ready"]
    await started(shorter)
    assert shell.document("reembed", "finish", "--execute") == {
        "executed": True,
        "model": {"name": present.embedding_model, "dimension": 64},
    }


async def test_the_command_refuses_with_the_reason_and_the_fix(
    engine: AsyncEngine, present: Settings, tmp_path: Path, database_url: str, postgres_admin_url: str
) -> None:
    shell = CommandLine.of(tmp_path, kafka="127.0.0.1:1", database_url=database_url, prefix="")
    short = shell.with_variables(MEMOSTREAM_EMBEDDING__DIMENSION="64")
    assert "256 dimensions already" in shell.call("reembed", "run", fails=True).stderr
    assert "no re-embedding is under way" in shell.call("reembed", "finish", fails=True).stderr
    assert "no re-embedding is under way" in shell.call("reembed", "abandon", fails=True).stderr
    assert short.document("reembed", "run")["executed"] is False
    assert (await read_status(present)).stored.next_model is None
    await run(following(present), Turned(8), ONCE, lambda: None)
    assert "by turned with 8 dimensions is under way" in short.call("reembed", "plan", fails=True).stderr
    foreign = short.with_variables(MEMOSTREAM_STORAGE__DATABASE_URL=postgres_admin_url)
    assert "no tables of memostream" in foreign.call("reembed", "run", "--execute", fails=True).stderr
    async with engine.begin() as connection:
        await connection.execute(
            text(
                "INSERT INTO workers (worker_id, name, topic_prefix, embedding_model, embedding_dimension, started_at, "
                "expires_at) VALUES (gen_random_uuid(), 'host-7', '', :model, 256, now(), now() + interval '1 h')"
            ),
            {"model": present.embedding_model},
        )
    with pytest.raises(Conflict, match=r"host-7; restart them"):
        await finish(present, execute=True)


def _differences(connection: Connection) -> list[Any]:
    options = {"include_object": lambda thing, name, kind, *_: not str(name).startswith("units_default")}
    context = MigrationContext.configure(connection, opts=options)
    return list(compare_metadata(context, metadata))
