"""The worker process: the roles that were asked for, side by side on one loop, and the exit code."""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from typing import Final, Literal, get_args

import structlog

from agents.buffer import create_buffer_app
from schemas.errors import ConfigurationError
from schemas.settings import Settings
from schemas.tokens import token_counter
from streams.faust_app import FaustApp
from streams.topics import ensure_topics

Role = Literal["buffer", "extraction", "relay"]
ROLES: Final[frozenset[str]] = frozenset(get_args(Role))
EXIT_OK: Final = 0
EXIT_FATAL: Final = 1

log = structlog.get_logger()


async def run_worker(settings: Settings, roles: frozenset[str] = ROLES, stop: asyncio.Event | None = None) -> int:
    """Run until `stop` is set (returns 0) or until something unexpected happens anywhere (returns 1).

    Nothing later than the failing record is acknowledged in either case. Raises ConfigurationError before joining any
    group when topics, database or settings do not fit.
    """
    unknown = roles - ROLES
    if unknown or not roles:
        raise ConfigurationError(f"roles must be some of {', '.join(sorted(ROLES))}; unknown: {', '.join(unknown)}")
    stop = stop or asyncio.Event()
    failure: asyncio.Future[BaseException] = asyncio.get_running_loop().create_future()

    def on_fatal(error: BaseException) -> None:
        if not failure.done():
            failure.set_result(error)

    partitions = await ensure_topics(settings.kafka, settings.buffer)
    async with AsyncExitStack() as stack:
        if "buffer" in roles:
            count_tokens = token_counter(
                settings.buffer.tokenizer,
                lambda reason: log.warning("buffer.tokens_estimated", reason=reason),
            )
            app = create_buffer_app(settings.kafka, settings.buffer, partitions, count_tokens, on_fatal)
            await stack.enter_async_context(running_app(app, on_fatal))
        log.info("worker.started", roles=sorted(roles), partitions=partitions)
        failure.add_done_callback(lambda _: stop.set())
        await stop.wait()
        log.info("worker.stopping")
    if failure.done():
        log.error("worker.failed", exc_info=failure.result())
        return EXIT_FATAL
    return EXIT_OK


@asynccontextmanager
async def running_app(app: FaustApp, on_fatal: Callable[[BaseException], None]) -> AsyncIterator[None]:
    """A started Faust app; a crash of any of its services is fatal, for Faust alone would only stop quietly."""
    await app.start()
    watcher = asyncio.create_task(_watch(app, on_fatal))
    try:
        yield
    finally:
        watcher.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await watcher
        await app.stop()


async def _watch(app: FaustApp, on_fatal: Callable[[BaseException], None]) -> None:
    await app.wait_until_stopped()
    on_fatal(app.crash_reason or RuntimeError(f"Faust app {app.conf.id} stopped by itself"))
