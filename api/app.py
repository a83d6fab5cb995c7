"""The gateway process: its parts put together, served, and taken apart in order."""

import asyncio
import socket
import time
import uuid
from collections.abc import AsyncIterator, Coroutine
from contextlib import AsyncExitStack, asynccontextmanager
from datetime import UTC, datetime
from typing import Final

import structlog
from sqlalchemy.ext.asyncio import AsyncEngine

from api.access import Gatekeeper, stored_in
from api.application import create_app
from api.counting import remembered
from api.gateway import Gateway
from api.insert_counts import InsertCounter
from api.serving import open_socket, serve_app
from extraction.factory import create_embedder, create_reader
from schemas.errors import ConfigurationError
from schemas.health import Health
from schemas.settings import Settings
from schemas.tokens import token_counter
from storage import policies
from storage.database import create_engine
from storage.errors import translated
from storage.forgotten import forgotten_revisions
from storage.ledger_waiter import LedgerWaiter
from storage.migrate import migrate
from storage.probing import watch_database
from storage.project_tokens import has_tokens
from storage.project_usage import adding_to
from storage.row_security import prepare_role
from storage.vector_columns import watch_vectors
from streams.buffer_queries import buffer_queries
from streams.change_feed import ChangeFeed, FeedLimits
from streams.loop_lag import LoopLag
from streams.message_log import message_log
from streams.message_reader import TopicTexts
from streams.offsets import end_offsets
from streams.prometheus import PrometheusMetrics
from streams.topics import Topics

log = structlog.get_logger()

NO_TOKEN: Final = (
    "nobody could be let in: set api.root_token (MEMOSTREAM_API__ROOT_TOKEN) or make a project's token with "
    "`memostream project create`; --insecure lets everybody in"
)
NOT_INSECURE: Final = "--insecure lets everybody in, and there are tokens: leave one of the two out"


async def serve(
    settings: Settings, stop: asyncio.Event, *, insecure: bool = False, listening: socket.socket | None = None
) -> int:
    """Run until `stop` is set, on `listening` if that was opened before; returns the exit code.

    Brings the database up to date first. Raises ConfigurationError where a setting or a token is missing, and
    RetryLater when Postgres is away.
    """
    if settings.without_effect:
        log.warning("settings.without_effect", reasons=list(settings.without_effect))
    # First, for a port that is taken should be said at once.
    with listening or open_socket(settings.api) as opened:
        async with open_gateway(settings, insecure=insecure) as gateway, _stopping_with(gateway, stop):
            log.info("gateway.started", host=settings.api.host, port=settings.api.port)
            await serve_app(create_app(gateway), settings.api, opened, stop)
    log.info("gateway.stopped")
    return 0


@asynccontextmanager
async def open_gateway(settings: Settings, *, insecure: bool = False) -> AsyncIterator[Gateway]:
    """Every part of a gateway, on a database that is up to date. Needs neither broker nor workers to begin."""
    async with AsyncExitStack() as stack:
        await migrate(
            settings.storage.database_url.get_secret_value(),
            embedding_dimension=settings.embedding_dimension,
            embedding_model=settings.embedding_model if settings.embedding.enabled else None,
        )
        engine = create_engine(settings.storage)
        stack.push_async_callback(engine.dispose)
        await _check_access(settings, engine, insecure=insecure)
        if settings.api.row_level_security:
            await prepare_role(engine)
        metrics = PrometheusMetrics()
        embedder = create_embedder(settings, metrics=metrics)
        if embedder is not None:
            stack.push_async_callback(embedder.close)
        reader = create_reader(settings, metrics)
        if reader is not None:
            stack.push_async_callback(reader.close)
        root_token = settings.api.root_token
        gatekeeper = Gatekeeper(
            stored_in(engine), None if root_token is None else root_token.get_secret_value(), is_open=insecure
        )
        inserts = InsertCounter(adding_to(engine), utc_now)
        stack.push_async_callback(inserts.flush)
        book = policies.PolicyBook(settings, policies.stored_in(engine), Health())
        ledger = LedgerWaiter(engine)
        topics = Topics(settings.kafka.topic_prefix)
        sources = [source.topic for source in settings.ingest.sources]
        changes = ChangeFeed(
            settings.kafka,
            FeedLimits(
                streams=settings.api.max_change_streams,
                streams_of_a_project=settings.api.max_change_streams_per_project,
                keep_alive_s=settings.api.change_keep_alive_s,
            ),
            forgotten=lambda users: forgotten_revisions(engine, users),
            now_ms=lambda: time.time_ns() // 1_000_000,
        )
        stack.push_async_callback(changes.close)
        loop_lag = LoopLag(metrics)

        async def show_streams() -> None:
            metrics.replace("memostream_change_streams", {(): changes.open_streams})

        for source in (loop_lag.show, show_streams):
            metrics.scraped_from(source)
        gateway = Gateway(
            settings=settings,
            engine=engine,
            gatekeeper=gatekeeper,
            message_log=await stack.enter_async_context(
                message_log(settings.kafka, settings.buffer, settings.api.produce_timeout_s)
            ),
            buffers=await stack.enter_async_context(buffer_queries(engine, settings.kafka)),
            texts=TopicTexts(settings.kafka),
            changes=changes,
            policies=book,
            embedder=embedder,
            reader=reader,
            count_tokens=remembered(token_counter(settings.buffer.tokenizer, _warn_of_estimates)),
            inserts=inserts,
            ledger=ledger,
            watch_database=watch_database(engine),
            holds_vectors=watch_vectors(engine, settings.embeds_by),
            end_offsets=lambda: end_offsets(settings.kafka, topics.chat_messages, *sources),
            now=utc_now,
            new_id=uuid.uuid4,
            metrics=metrics,
            metrics_page=metrics.page,
        )
        for work in (gatekeeper.follow(engine), inserts.run(), ledger.run(), loop_lag.run()):
            await stack.enter_async_context(_beside(work))
        yield gateway


def utc_now() -> datetime:
    return datetime.now(UTC)


def _warn_of_estimates(reason: str) -> None:
    log.warning("gateway.tokens_estimated", reason=reason)


async def _check_access(settings: Settings, engine: AsyncEngine, *, insecure: bool) -> None:
    has_token = settings.api.root_token is not None
    if not has_token:
        with translated("looking for tokens"):
            async with engine.connect() as connection:
                has_token = await has_tokens(connection)
    if insecure and has_token:
        raise ConfigurationError(NOT_INSECURE)
    if not insecure and not has_token:
        raise ConfigurationError(NO_TOKEN)
    if insecure:
        log.warning("gateway.open_to_all", reason="--insecure: whoever reaches the port reads and writes everything")


@asynccontextmanager
async def _stopping_with(gateway: Gateway, stop: asyncio.Event) -> AsyncIterator[None]:
    """Sets `gateway.stopping` with `stop`, so that streams and waiting calls end before they are cut off."""

    async def watch() -> None:
        await stop.wait()
        gateway.stopping.set()
        gateway.changes.stop()

    async with _beside(watch()):
        yield


@asynccontextmanager
async def _beside(work: Coroutine[None, None, None]) -> AsyncIterator[None]:
    """Work that goes on while the block runs; what it raises ends the block."""
    async with asyncio.TaskGroup() as group:
        task = group.create_task(work)
        try:
            yield
        finally:
            task.cancel()
