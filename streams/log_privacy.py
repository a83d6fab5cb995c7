"""Keeps what users said out of the log: texts of exceptions that may quote it, and what libraries say."""

import logging
from collections import Counter
from collections.abc import Mapping
from typing import Any, Final

import structlog
from aiokafka.errors import KafkaError

from schemas.errors import MemostreamError
from storage.errors import CONNECTION_ERRORS, describe, sqlstate

# Of these the text names hosts, files, codes and identifiers. Of any other (a KeyError, a ValidationError, a row that
# Postgres refuses) it may quote what was being worked on.
SPEAKING_ERRORS: Final = (MemostreamError, KafkaError, OSError, ImportError, AttributeError, NameError)
WITHHELD: Final = "text withheld, it may quote a record"

_MAX_CHAIN: Final = 20


def describe_error(error: BaseException) -> str:
    """What an exception says, or its SQLSTATE, or that it may not be told."""
    if isinstance(error, CONNECTION_ERRORS) and sqlstate(error) is not None:
        return describe(error)
    return str(error) if isinstance(error, SPEAKING_ERRORS) else WITHHELD


def withhold_texts(_logger: Any, _method: str, event: structlog.typing.EventDict) -> structlog.typing.EventDict:
    """A structlog processor: the traceback keeps its frames and the names of exceptions, not their texts."""
    exc_info = event.get("exc_info")
    error = exc_info if isinstance(exc_info, BaseException) else exc_info[1] if isinstance(exc_info, tuple) else None
    if error is not None:
        copy = _without_text(error, _MAX_CHAIN)
        event["exc_info"] = type(copy), copy, error.__traceback__
    return event


def _without_text(error: BaseException, depth: int) -> BaseException:
    """An exception of the same name with the same traceback and chain; renderers need not know."""
    named = {"__module__": type(error).__module__, "__qualname__": type(error).__qualname__}
    copy: BaseException
    if isinstance(error, BaseExceptionGroup) and depth > 0:
        parts = [_without_text(part, depth - 1) for part in error.exceptions]
        copy = type(type(error).__name__, (BaseExceptionGroup,), named)(WITHHELD, parts)
    else:
        copy = type(type(error).__name__, (Exception,), named)(describe_error(error))
    copy.__traceback__ = error.__traceback__
    if depth > 0:
        copy.__cause__ = None if error.__cause__ is None else _without_text(error.__cause__, depth - 1)
        copy.__context__ = None if error.__context__ is None else _without_text(error.__context__, depth - 1)
        copy.__suppress_context__ = error.__suppress_context__
    return copy


class LibraryFilter(logging.Filter):
    """What of libraries' records is written, whatever levels they or their variables set; `own` ones all pass.

    Below warning they hold requests, rows and records, so nothing of that passes; of `quiet` ones errors only, and
    the same message once per `after_s`, where the next one says how many it stands for. Exceptions among a message's
    arguments lose their texts.
    """

    def __init__(self, own: str, quiet: tuple[str, ...], after_s: float) -> None:
        super().__init__()
        self._own = own
        self._quiet = quiet
        self._after_s = after_s
        self._passed: dict[tuple[str, object], float] = {}
        self._held_back: Counter[tuple[str, object]] = Counter()

    def filter(self, record: logging.LogRecord) -> bool:
        if record.name == self._own:
            return True
        is_quiet = record.name.partition(".")[0] in self._quiet or record.name in self._quiet
        if record.levelno < (logging.ERROR if is_quiet else logging.WARNING):
            return False
        # The template, not the text: host, port and error number vary.
        key = record.name, record.msg
        if is_quiet and record.created - self._passed.get(key, float("-inf")) < self._after_s:
            self._held_back[key] += 1
            return False
        _withhold_arguments(record)
        if is_quiet:
            self._passed[key] = record.created
            if held_back := self._held_back.pop(key, 0):
                record.msg = f"{record.getMessage()} ({held_back} more like this before)"
                record.args = None
        return True


def _withhold_arguments(record: logging.LogRecord) -> None:
    if record.name == "asyncio" and isinstance(record.msg, str):
        # The lines behind the first show the task or the future, and with it its exception.
        record.msg = record.msg.partition("\n")[0]
    if isinstance(record.msg, BaseException):
        record.msg = _argument(record.msg)
    if isinstance(record.args, Mapping):
        record.args = {name: _argument(value) for name, value in record.args.items()}
    elif record.args is not None:
        record.args = tuple(_argument(value) for value in record.args)


def _argument(value: object) -> object:
    return f"{type(value).__name__}: {describe_error(value)}" if isinstance(value, BaseException) else value
