"""Logging of a process: events with keys by structlog, the libraries' own records in the same form."""

import logging
import sys
from typing import Final

import structlog

from schemas.settings import WorkerSettings

# What these say at warning is their daily business (a rebalance, a retried produce request); errors remain.
QUIET_LOGGERS: Final = ("aiokafka", "faust", "mode", "alembic", "httpx", "openai", "streams.faust_app")


def configure_logging(settings: WorkerSettings) -> None:
    """Write to stderr: readable on a terminal, one JSON object a line elsewhere, or as `worker.log_format` says."""
    level = logging.getLevelNamesMapping()[settings.log_level.upper()]
    as_console = settings.log_format == "console" or (settings.log_format == "auto" and sys.stderr.isatty())
    shared: list[structlog.typing.Processor] = [
        structlog.contextvars.merge_contextvars,
        structlog.processors.add_log_level,
        structlog.processors.TimeStamper(fmt="iso", utc=True),
    ]
    # Locals would hold what users said.
    plain_traceback = structlog.dev.RichTracebackFormatter(show_locals=False)
    renderer: list[structlog.typing.Processor] = (
        [structlog.dev.ConsoleRenderer(exception_formatter=plain_traceback)]
        if as_console
        else [structlog.processors.dict_tracebacks, structlog.processors.JSONRenderer()]
    )
    structlog.configure(
        processors=[*shared, structlog.stdlib.ProcessorFormatter.wrap_for_formatter],
        wrapper_class=structlog.make_filtering_bound_logger(level),
        logger_factory=structlog.stdlib.LoggerFactory(),
        cache_logger_on_first_use=True,
    )
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(
        structlog.stdlib.ProcessorFormatter(
            foreign_pre_chain=shared,
            processors=[structlog.stdlib.ProcessorFormatter.remove_processors_meta, *renderer],
        )
    )
    logging.basicConfig(level=level, handlers=[handler], force=True)
    for name in QUIET_LOGGERS:
        logging.getLogger(name).setLevel(logging.ERROR)
