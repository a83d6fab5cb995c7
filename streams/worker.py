"""The worker process: the roles that were asked for, side by side on one loop, and the exit code."""

import asyncio
import os
import socket
import uuid
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from typing import TYPE_CHECKING, Final, Literal, get_args

import structlog
from sqlalchemy.ext.asyncio import AsyncEngine

from agents import extraction
from agents.buffer import create_buffer_app
from agents.dependencies import ExtractionDeps, ShadowWork, utc_now
from agents.embedding_filler import EmbeddingFiller
from agents.ingest import create_ingest_app
from extraction.factory import create_embedder, create_extractor
from schemas.errors import ConfigurationError, MemostreamError
from schemas.health import Health
from schemas.mapping import IngestSource
from schemas.memory import ExtractorIdentity
from schemas.policies import policy_of
from schemas.settings import Settings
from schemas.tokens import token_counter
from schemas.tracing import Tracer
from storage.database import create_engine
from storage.migrate import migrate
from storage.partitions import keep_unit_partitions
from storage.policies import PolicyBook, stored_in
from storage.probing import Reasons, watch_database
from storage.usage_pruning import keep_usage_short
from storage.workers import RegisteredWorker
from streams.buffer_service import BufferService, serve_buffers
from streams.faust_app import FaustApp, new_app
from streams.health import (
    WorkerHealth,
    nothing_wrong,
    serve_probes,
    watch_broker,
    watch_problems,
    watch_state,
)
from streams.ingest_sources import check_sources, source_partitions
from streams.observing import Observer, create_tracer
from streams.offsets import end_offsets
from streams.relay import Relay
from streams.shadow_running import RunningShadow
from streams.shadow_tidying import keep_windows_short
from streams.starting import check_login, patiently
from streams.stopping import FAREWELL_S, Parts, SideBySide, done_before, running, side_by_side
from streams.topics import Topics, ensure_topics
from streams.worker_registry import registered

if TYPE_CHECKING:
    from httpx2 import AsyncClient

Role = Literal["ingest", "buffer", "extraction", "relay"]
ROLES: Final[frozenset[str]] = frozenset(get_args(Role))
# In the registry, of one that works for a shadow.
SHADOW_ROLE: Final = "shadow"
# One of them listens.
RELAY_POOL_SIZE: Final = 3
EXIT_OK: Final = 0
EXIT_FATAL: Final = 1

log = structlog.get_logger()


async def run_worker(
    settings: Settings,
    roles: frozenset[str] = ROLES,
    stop: asyncio.Event | None = None,
    model_http: "AsyncClient | None" = None,
    parts: Parts | None = None,
    tracer: Tracer | None = None,
    shadow: RunningShadow | None = None,
) -> int:
    """Run until `stop` is set (returns 0) or until something unexpected happens anywhere (returns 1).

    Nothing later than the failing record is acknowledged in either case. Raises ConfigurationError before joining any
    group when topics, database or settings do not fit. `model_http` sends the requests to models, None for a client
    of the settings. `parts` tells what is running, also while it stops. `tracer` is closed at the end, None for that
    of the settings. With `shadow` the roles buffer and extraction work for that one, beside the live workers, and end,
    with 0, when the shadow does.
    """
    if not roles or roles - ROLES:
        raise ConfigurationError(f"roles must be some of {', '.join(sorted(ROLES))}, not {', '.join(sorted(roles))}")
    if shadow is not None and roles - {"buffer", "extraction"}:
        raise ConfigurationError("a shadow has the roles buffer and extraction only")
    stop, parts = stop or asyncio.Event(), parts or Parts()
    failures: list[BaseException] = []
    check_sources(settings)
    worker_name = f"{socket.gethostname()}-{os.getpid()}"
    observer = Observer(settings, tracer or create_tracer(settings.worker, worker_name))
    health = WorkerHealth(roles, lambda: observer.progress.stalled)

    def on_fatal(error: BaseException) -> None:
        # At once: what fails while all stops must not hide it.
        log.error("worker.failed", exc_info=error)
        failures.append(error)
        health.fail(error)
        stop.set()

    if settings.without_effect:
        log.warning("settings.without_effect", reasons=list(settings.without_effect))
    engine = create_engine(settings.storage)
    async with AsyncExitStack() as stack:
        stack.enter_context(parts.running_as("worker"))
        # Side by side, since each may wait for a server that is away.
        stack.push_async_callback(_farewell, engine, observer.tracer)
        # First, so that a start that takes long is seen to be alive.
        await stack.enter_async_context(serve_probes(settings.worker, health, observer.metrics))
        await stack.enter_async_context(running(observer.loop_lag.run(), on_fatal))
        await stack.enter_async_context(running(observer.progress.run(), on_fatal))
        starting = _start(
            stack, settings, engine, roles, on_fatal, health, worker_name, model_http, observer, parts, shadow
        )
        if shadow is not None:
            await stack.enter_async_context(running(shadow.watch(engine, stop.set), on_fatal))
            if shadow.buffer is not None:
                tidying = keep_windows_short(settings.kafka, shadow.topics)
                await stack.enter_async_context(running(tidying, on_fatal))
        if await done_before(stop, starting):
            await stop.wait()
        health.stop()
        log.info("worker.stopping")
    return EXIT_FATAL if failures else EXIT_OK


async def _start(
    stack: AsyncExitStack,
    settings: Settings,
    engine: AsyncEngine,
    roles: frozenset[str],
    on_fatal: Callable[[BaseException], None],
    health: WorkerHealth,
    worker_name: str,
    model_http: "AsyncClient | None",
    observer: Observer,
    parts: Parts,
    shadow: RunningShadow | None,
) -> None:
    sources = settings.ingest.sources if "ingest" in roles else ()
    patience_s = settings.worker.start_timeout_s
    source_counts, partitions = await patiently(lambda: _check_broker(settings, sources), patience_s)
    if roles & {"extraction", "relay"}:
        await patiently(lambda: migrate_database(settings), patience_s)
        await _enter_storage(stack, settings, engine, on_fatal, health, observer)
    if "relay" in roles:
        # Left when the others have stopped, for it publishes what they wrote.
        stack.enter_context(parts.running_as("relay"))
        stage = observer.stage("relay")
        # Its statements are short, and must not wait behind the transactions of extraction.
        of_relay = settings.storage.model_copy(update={"pool_size": min(settings.storage.pool_size, RELAY_POOL_SIZE)})
        relay_engine = create_engine(of_relay)
        stack.push_async_callback(_disposed, relay_engine)
        relay = Relay(relay_engine, settings.kafka, settings.relay, worker_name, metrics=stage)
        await stack.enter_async_context(running(relay.run(), on_fatal, relay.stop, FAREWELL_S))
        observer.see_relay(relay, stage, watch_broker(settings.kafka))
        # Without shards it is ready, too: others may hold them all.
        health.watch("relay", nothing_wrong)
    stages = await stack.enter_async_context(side_by_side(parts))
    extractor: ExtractorIdentity | None = None
    if "extraction" in roles:
        extractor = await _enter_extraction_role(
            stages, settings, engine, partitions, on_fatal, health, worker_name, model_http, observer, shadow
        )
    service: BufferService | None = None
    if "buffer" in roles:
        service = await _enter_buffer_role(
            stages.stack("buffer"), settings, partitions, on_fatal, health, observer, shadow
        )
    if source_counts:
        stage = observer.stage("ingest")
        app = create_ingest_app(settings, source_counts, on_fatal, stage)
        await stages.stack("ingest").enter_async_context(_running_app(app, on_fatal, settings.worker.start_timeout_s))
        observer.see_stage("ingest", app, stage)
        health.watch("ingest", _reads(app))
    elif "ingest" in roles:
        # Nothing is to be read, so there is nothing to wait for.
        health.watch("ingest", nothing_wrong)
    health.watch("broker", watch_broker(settings.kafka))
    identity = RegisteredWorker(
        worker_id=uuid.uuid4(),
        name=worker_name,
        topic_prefix=settings.kafka.topic_prefix,
        roles=tuple(sorted(roles)) if shadow is None else (SHADOW_ROLE,),
        # Of live memory only.
        url=service.url if service and shadow is None else None,
        token=service.token if service and shadow is None else None,
        embeds_by=settings.embeds_by if "extraction" in roles else None,
        extractor=extractor,
    )
    await stages.stack("registry").enter_async_context(registered(engine, identity))
    log.info("worker.started", roles=sorted(roles), partitions=partitions)


async def _check_broker(settings: Settings, sources: Sequence[IngestSource]) -> tuple[Mapping[str, int], int]:
    """Partition counts of the sources, and that of our own topics."""
    await check_login(settings.kafka)
    counts = await source_partitions(settings.kafka, sources)
    return counts, await ensure_topics(settings.kafka, settings.buffer)


async def migrate_database(settings: Settings) -> None:
    """Bring the schema up to date, under its lock; raises ConfigurationError if it cannot be, RetryLater if Postgres
    is away.
    """
    await migrate(
        settings.storage.database_url.get_secret_value(),
        embedding_dimension=settings.embedding_dimension,
        embedding_model=settings.embedding_model if settings.embedding.enabled else None,
    )


async def _enter_buffer_role(
    stack: AsyncExitStack,
    settings: Settings,
    partitions: int,
    on_fatal: Callable[[BaseException], None],
    health: WorkerHealth,
    observer: Observer,
    shadow: RunningShadow | None,
) -> BufferService:
    count_tokens = token_counter(
        settings.buffer.tokenizer, lambda reason: log.warning("buffer.tokens_estimated", reason=reason)
    )
    # Before the app, which tells the other members of its group where this worker is asked.
    service = await stack.enter_async_context(serve_buffers(settings.worker, settings.kafka))
    stage = observer.stage("buffer")
    app, buffers = create_buffer_app(
        *(settings.kafka, settings.buffer, partitions, count_tokens, on_fatal, service.url, stage),
        None if shadow is None else shadow.buffer,
    )
    await stack.enter_async_context(_running_app(app, on_fatal, settings.worker.start_timeout_s))
    observer.see_stage("buffer", app, stage)
    observer.see_buffers(buffers)
    stack.enter_context(service.answering(buffers))
    health.watch("buffer", _reads(app))
    return service


async def _enter_storage(
    stack: AsyncExitStack,
    settings: Settings,
    engine: AsyncEngine,
    on_fatal: Callable[[BaseException], None],
    health: WorkerHealth,
    observer: Observer,
) -> None:
    health.watch("database", watch_database(engine))
    observer.see_database(engine)
    await stack.enter_async_context(running(keep_unit_partitions(engine, utc_now), on_fatal))
    if settings.storage.usage_retention_days is not None:
        pruning = keep_usage_short(engine, settings.storage.usage_retention_days, utc_now)
        await stack.enter_async_context(running(pruning, on_fatal))


async def _enter_extraction_role(
    stages: SideBySide,
    settings: Settings,
    engine: AsyncEngine,
    partitions: int,
    on_fatal: Callable[[BaseException], None],
    health: WorkerHealth,
    worker_name: str,
    model_http: "AsyncClient | None",
    observer: Observer,
    shadow: RunningShadow | None,
) -> ExtractorIdentity:
    stack = stages.stack("extraction")
    # One for both, for what may be asked of the endpoint is limited by it.
    embedder = create_embedder(settings, model_http, observer.metrics, observer.tracer)
    extractor = create_extractor(settings, embedder, model_http, observer.metrics, observer.tracer)
    stack.push_async_callback(extractor.close)
    if settings.extraction.provider == "offline":
        log.warning("extraction.rules_chosen", reason="facts come from rules; extraction.provider chooses")
    identity = extractor.identity(policy_of(settings))
    problems = Health()
    policies = PolicyBook(settings, stored_in(engine), problems)
    # Beside it: each may wait for a database that is away, and none needs the other to stop.
    await stages.stack("policies").enter_async_context(running(policies.watch(), on_fatal))
    topics = Topics(settings.kafka.topic_prefix) if shadow is None else shadow.topics
    sources = [source.topic for source in settings.ingest.sources]
    app = new_app(topics.extraction_group, settings.kafka, partitions)
    deps = ExtractionDeps(
        engine=engine,
        extractor=extractor,
        extraction=settings.extraction,
        buffer=settings.buffer,
        worker=settings.worker,
        fatal=on_fatal,
        worker_name=worker_name,
        keep_blobs=settings.storage.persistent_chat_blobs,
        reads_images=settings.reads_images,
        end_offsets=lambda: end_offsets(settings.kafka, topics.chat_messages, *sources),
        health=problems,
        policy_of_project=policies.policy_of,
        prices=settings.prices,
        budget=settings.budget,
        embeds_by=settings.embeds_by,
        metrics=observer.metrics,
        tracer=observer.tracer,
        shadow=None
        if shadow is None
        else ShadowWork(shadow.shadow.generation, shadow.takes, shadow.max_cost, shadow.pace),
    )
    intake = extraction.register(app, topics.extraction_windows, partitions, deps)
    if embedder is not None and shadow is None:
        filler = EmbeddingFiller(deps, embedder)
        await stages.stack("embeddings").enter_async_context(running(filler.run(), on_fatal))
    await stack.enter_async_context(_running_app(app, on_fatal, settings.worker.start_timeout_s))
    observer.see_extraction(
        app,
        pending=lambda: intake.pending,
        finished=lambda: intake.finished,
        is_waiting=lambda: intake.is_waiting,
        database=watch_database(engine),
    )
    health.watch("extraction", watch_problems(lambda: deps.health.problems, _reads(app)))
    return identity


async def _farewell(engine: AsyncEngine, tracer: Tracer) -> None:
    await asyncio.gather(_disposed(engine), tracer.close())


async def _disposed(engine: AsyncEngine) -> None:
    """Close its connections; those that a server is to close which is away end with the process."""
    with suppress(TimeoutError):
        async with asyncio.timeout(FAREWELL_S):
            await engine.dispose()


def _reads(app: FaustApp) -> Reasons:
    return watch_state(lambda: app.is_settled, "its partitions are not assigned yet, or their state is being loaded")


@asynccontextmanager
async def _running_app(
    app: FaustApp, on_fatal: Callable[[BaseException], None], start_timeout_s: float
) -> AsyncIterator[None]:
    """A started Faust app; a crash of any of its services is fatal, for Faust alone would only stop quietly."""

    async def watch() -> None:
        await app.wait_until_stopped()
        on_fatal(app.crash_reason or MemostreamError(f"the Faust app {app.conf.id} stopped by itself"))

    watcher: asyncio.Task[None] | None = None
    app.start_timeout_s = start_timeout_s
    try:
        await app.start()
        watcher = asyncio.create_task(watch())
        yield
    finally:
        if watcher is not None:
            watcher.cancel()
        # Also where starting failed half-way: the consumer's thread would keep the process alive.
        await app.stop()
