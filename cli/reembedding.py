"""`memostream reembed`: looks at the database, refuses what does not fit, and lets the parts do the rest."""

from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import UTC, datetime

from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine

from agents.dependencies import ReembeddingDeps
from agents.embedding_filler import CLAIM_S
from agents.reembedder import Reembedder, tail_of
from cli.databases import check_schema
from cli.reembedding_rules import (
    Plan,
    check_abandon,
    check_finish,
    checked_begun,
    checked_target,
    plan_of,
)
from extraction.protocol import Embedder
from schemas.errors import ConfigurationError
from schemas.memory import EmbeddingModel
from schemas.settings import Settings
from storage.database import create_engine
from storage.errors import translated
from storage.inspection import StoredEmbeddings, read_schema_state, read_stored_embeddings
from storage.reembedding import abandon, begin, cut_over, exclusively
from storage.reembedding_progress import (
    Progress,
    count_missing,
    count_texts,
    read_planned,
    read_progress,
    release_claims,
)
from storage.reembedding_runs import build_indexes, check_indexes, count_runs, registered_run
from storage.workers import embedding_workers

# Of counting all texts, and of building an index.
PATIENT_S = 6 * 3600.0
# Embedded once before anything is changed, to see that the model answers, and with how many numbers.
PROBE = "memory"


@dataclass(frozen=True, slots=True)
class Status:
    """How the embeddings stand; `by_table` is empty where nothing is under way, `runs` are those that embed now."""

    stored: StoredEmbeddings
    by_table: Mapping[str, Progress]
    runs: int


@dataclass(frozen=True, slots=True)
class Limits:
    """`rate` is in texts a second, None for any number; `until_ready` ends a run once nothing is missing."""

    concurrency: int
    rate: float | None
    until_ready: bool


async def plan(settings: Settings) -> Plan:
    """What a run with these settings would do. Raises what `run` raises."""
    async with _engine(settings) as engine, _reading(engine) as connection:
        stored = await _stored(connection)
        target = checked_target(stored, settings.embeds_by)
        is_begun = stored.next_model is not None
        by_table = await (read_progress(connection, _now(), CLAIM_S) if is_begun else read_planned(connection))
        return plan_of(target, is_begun, by_table, settings.prices)


async def run(settings: Settings, embedder: Embedder, limits: Limits, said_ready: Callable[[], None]) -> bool:
    """Embed everything by the model of these settings, and what is written meanwhile, until `finish` or `abandon`.

    False where it was abandoned. Killed at any point, it is called again. Raises ConfigurationError or Conflict where
    the database does not fit, before anything is changed, and RetryLater where Postgres or the model is away then.
    """
    async with _engine(settings) as engine, _filling_engine(settings) as filling:
        async with _reading(engine) as connection:
            target = checked_target(await _stored(connection), settings.embeds_by)
        await _check_answers(embedder, target)

        async def take_over() -> None:
            async with engine.begin() as connection:
                # Later they may be those of workers.
                if not (await read_stored_embeddings(connection)).is_ready:
                    await release_claims(connection, _now(), CLAIM_S)

        await _begin(engine, target)
        await build_indexes(engine)
        async with registered_run(engine, take_over):
            deps = ReembeddingDeps(filling, target, settings.prices)
            reembedder = Reembedder(
                deps, embedder, concurrency=limits.concurrency, rate=limits.rate, said_ready=said_ready
            )
            return await reembedder.run(until_ready=limits.until_ready)


async def read_status(settings: Settings) -> Status:
    async with _engine(settings) as engine, _reading(engine) as connection:
        stored = await _stored(connection)
        by_table = {} if stored.next_model is None else await read_progress(connection, _now(), CLAIM_S)
        return Status(stored, by_table, await count_runs(connection))


async def finish(settings: Settings, *, execute: bool) -> EmbeddingModel:
    """Make the model that was to follow the one in use, and drop the other's vectors; returns the model.

    Raises NotFound where none is under way, Conflict where texts are missing or workers have another model, and
    RetryLater where the tables are busy for minutes.
    """
    async with _engine(settings) as engine:
        async with _reading(engine) as connection:
            stored = await _stored(connection)
            checked_begun(stored)
            # Counted before the lock, for it takes as long as there are texts.
            tail = tail_of(await count_texts(connection))
            target = await _finishable(connection, stored, tail)
        if not execute:
            return target
        await build_indexes(engine)

        async def change(connection: AsyncConnection) -> None:
            await _finishable(connection, await read_stored_embeddings(connection), tail)
            await check_indexes(connection)
            await cut_over(connection)

        await exclusively(engine, change)
        return target


async def give_up(settings: Settings, *, execute: bool) -> EmbeddingModel:
    """Take away what was embedded by the model that was to follow; raises NotFound, Conflict and RetryLater."""
    async with _engine(settings) as engine:
        async with _reading(engine) as connection:
            target = check_abandon(await _stored(connection), await embedding_workers(connection))
        if not execute:
            return target

        async def change(connection: AsyncConnection) -> None:
            check_abandon(await read_stored_embeddings(connection), await embedding_workers(connection))
            await abandon(connection)

        await exclusively(engine, change)
        return target


async def _begin(engine: AsyncEngine, target: EmbeddingModel) -> None:
    async def change(connection: AsyncConnection) -> None:
        # Another run may have begun meanwhile.
        stored = await read_stored_embeddings(connection)
        checked_target(stored, target)
        if stored.next_model is None:
            await begin(connection, target)

    with translated("looking at the database"):
        async with engine.connect() as connection:
            if (await read_stored_embeddings(connection)).next_model == target:
                return
    await exclusively(engine, change)


async def _check_answers(embedder: Embedder, target: EmbeddingModel) -> None:
    vectors, _ = await embedder.embed([PROBE])
    if vectors.shape != (1, target.dimension):
        raise ConfigurationError(
            f"the embedding model answers with {vectors.shape[-1]} dimensions, not {target.dimension}: set "
            "embedding.dimension to what it gives"
        )


async def _finishable(connection: AsyncConnection, stored: StoredEmbeddings, tail: int) -> EmbeddingModel:
    missing = await count_missing(connection, _now(), CLAIM_S)
    return check_finish(stored, missing, tail, await embedding_workers(connection))


async def _stored(connection: AsyncConnection) -> StoredEmbeddings:
    check_schema(await read_schema_state(connection))
    return await read_stored_embeddings(connection)


@asynccontextmanager
async def _reading(engine: AsyncEngine) -> AsyncIterator[AsyncConnection]:
    with translated("reading the state of embeddings"):
        async with engine.connect() as connection:
            yield connection


@asynccontextmanager
async def _engine(settings: Settings) -> AsyncIterator[AsyncEngine]:
    """For statements that take as long as there are texts."""
    engine = create_engine(settings.storage, PATIENT_S)
    try:
        yield engine
    finally:
        await engine.dispose()


@asynccontextmanager
async def _filling_engine(settings: Settings) -> AsyncIterator[AsyncEngine]:
    engine = create_engine(settings.storage)
    try:
        yield engine
    finally:
        await engine.dispose()


def _now() -> datetime:
    return datetime.now(UTC)
