"""Logging of a process: events with keys by structlog, the libraries' own records in the same form."""

import logging
import sys
import threading
from types import TracebackType
from typing import Final, TextIO

import structlog

from schemas.settings import WorkerSettings
from streams.log_privacy import LibraryFilter, withhold_texts

# All events of ours go through it; every other logger is a library's.
OWN_LOGGER: Final = "memostream"
# What these say at warning is their daily business (a rebalance, a retried produce request); errors remain.
QUIET_LOGGERS: Final = (
    "aiokafka",
    "faust",
    "mode",
    "alembic",
    "httpx",
    "httpx2",
    "openai",
    "opentelemetry",
    "streams.faust_app",
)
# While a broker is away, aiokafka's clients report it hundreds of times a second.
REPEAT_AFTER_S: Final = 10.0

log = structlog.get_logger()


def configure_logging(settings: WorkerSettings, stream: TextIO | None = None) -> None:
    """Write to `stream`, stderr if None: readable on a terminal, elsewhere one JSON object a line.

    `worker.log_format` may name one of the two forms. `worker.log_level` is that of our own events: libraries never
    say less than a warning, for below it they show what they send and receive.
    """
    level = logging.getLevelNamesMapping()[settings.log_level.upper()]
    stream = stream or sys.stderr
    as_console = settings.log_format == "console" or (settings.log_format == "auto" and stream.isatty())
    shared: list[structlog.typing.Processor] = [
        structlog.contextvars.merge_contextvars,
        structlog.processors.add_log_level,
        structlog.processors.TimeStamper(fmt="iso", utc=True),
    ]
    # Local variables in a traceback would hold what users said.
    as_text = structlog.dev.RichTracebackFormatter(show_locals=False)
    as_document = structlog.tracebacks.ExceptionDictTransformer(show_locals=False)
    renderer: list[structlog.typing.Processor] = (
        [structlog.dev.ConsoleRenderer(exception_formatter=as_text)]
        if as_console
        else [structlog.processors.ExceptionRenderer(as_document), structlog.processors.JSONRenderer()]
    )
    structlog.configure(
        processors=[*shared, structlog.stdlib.ProcessorFormatter.wrap_for_formatter],
        wrapper_class=structlog.make_filtering_bound_logger(level),
        logger_factory=lambda *_: logging.getLogger(OWN_LOGGER),
        cache_logger_on_first_use=True,
    )
    handler = logging.StreamHandler(stream)
    handler.setFormatter(
        structlog.stdlib.ProcessorFormatter(
            foreign_pre_chain=shared,
            processors=[structlog.stdlib.ProcessorFormatter.remove_processors_meta, withhold_texts, *renderer],
        )
    )
    handler.addFilter(LibraryFilter(OWN_LOGGER, QUIET_LOGGERS, REPEAT_AFTER_S))
    logging.basicConfig(level=max(level, logging.WARNING), handlers=[handler], force=True)
    logging.getLogger(OWN_LOGGER).setLevel(level)
    for name in QUIET_LOGGERS:
        logging.getLogger(name).setLevel(logging.ERROR)
    _log_what_nobody_catches()


def _log_what_nobody_catches() -> None:
    """Python's own traceback of an exception that ends the process or a thread shows its text."""

    def in_process(_kind: type[BaseException], error: BaseException, _traceback: TracebackType | None) -> None:
        log.critical("process.failed", exc_info=error)

    def in_thread(args: threading.ExceptHookArgs) -> None:
        name = None if args.thread is None else args.thread.name
        log.error("process.thread_failed", thread=name, exc_info=args.exc_value)

    sys.excepthook = in_process
    threading.excepthook = in_thread
