"""Logging of a process: events with keys by structlog, the libraries' own records in the same form."""

import logging
import sys
from collections import Counter
from typing import Final, TextIO

import structlog

from schemas.settings import WorkerSettings

# What these say at warning is their daily business (a rebalance, a retried produce request); errors remain.
QUIET_LOGGERS: Final = ("aiokafka", "faust", "mode", "alembic", "httpx", "openai", "streams.faust_app")
# While a broker is away, aiokafka's clients report it hundreds of times a second.
REPEAT_AFTER_S: Final = 10.0


def configure_logging(settings: WorkerSettings, stream: TextIO | None = None) -> None:
    """Write to `stream`, stderr if None: readable on a terminal, elsewhere one JSON object a line.

    `worker.log_format` may name one of the two forms.
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
        logger_factory=structlog.stdlib.LoggerFactory(),
        cache_logger_on_first_use=True,
    )
    handler = logging.StreamHandler(stream)
    handler.setFormatter(
        structlog.stdlib.ProcessorFormatter(
            foreign_pre_chain=shared,
            processors=[structlog.stdlib.ProcessorFormatter.remove_processors_meta, *renderer],
        )
    )
    handler.addFilter(RepeatFilter(QUIET_LOGGERS, REPEAT_AFTER_S))
    logging.basicConfig(level=level, handlers=[handler], force=True)
    for name in QUIET_LOGGERS:
        logging.getLogger(name).setLevel(logging.ERROR)


class RepeatFilter(logging.Filter):
    """Lets the same message of the named loggers pass once per `after_s`; the next one says how many it stands for."""

    def __init__(self, loggers: tuple[str, ...], after_s: float) -> None:
        super().__init__()
        self._loggers = loggers
        self._after_s = after_s
        self._passed: dict[tuple[str, object], float] = {}
        self._held_back: Counter[tuple[str, object]] = Counter()

    def filter(self, record: logging.LogRecord) -> bool:
        if not record.name.startswith(self._loggers):
            return True
        # The template, not the text: host, port and error number vary.
        key = record.name, record.msg
        if record.created - self._passed.get(key, float("-inf")) < self._after_s:
            self._held_back[key] += 1
            return False
        self._passed[key] = record.created
        held_back = self._held_back.pop(key, 0)
        if held_back:
            record.msg = f"{record.getMessage()} ({held_back} more like this before)"
            record.args = None
        return True
