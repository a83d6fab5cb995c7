"""What a process writes about itself, and what it never writes."""

import asyncio
import io
import json
import logging
import sys
import threading
from collections.abc import Callable, Iterator
from typing import Literal

import asyncpg
import orjson
import pytest
import structlog
from aiokafka.errors import KafkaConnectionError
from pydantic import TypeAdapter, ValidationError
from sqlalchemy.exc import IntegrityError

from schemas.errors import RetryLater
from schemas.settings import WorkerSettings
from streams.log_privacy import WITHHELD, LibraryFilter, describe_error
from streams.logs import OWN_LOGGER, QUIET_LOGGERS, configure_logging

AFTER_S = 10.0
SAID = "canary-in-a-message"

Configure = Callable[[Literal["json", "console"], Literal["debug", "info"]], io.StringIO]


@pytest.fixture
def logs() -> Iterator[Configure]:
    """Configures the process's log and gives what is written; all is as before afterwards."""
    root = logging.getLogger()
    handlers = root.handlers[:]
    levels = {name: logging.getLogger(name).level for name in (None, OWN_LOGGER, *QUIET_LOGGERS)}
    hooks = sys.excepthook, threading.excepthook

    def configure(form: Literal["json", "console"], level: Literal["debug", "info"]) -> io.StringIO:
        written = io.StringIO()
        configure_logging(WorkerSettings(log_format=form, log_level=level), written)
        # A logger that keeps its form would have this one in all tests to come.
        structlog.configure(cache_logger_on_first_use=False)
        return written

    yield configure
    structlog.reset_defaults()
    sys.excepthook, threading.excepthook = hooks
    root.handlers[:] = handlers
    for name, level in levels.items():
        logging.getLogger(name).setLevel(level)


@pytest.fixture
def json_logs(logs: Configure) -> io.StringIO:
    return logs("json", "info")


def test_events_and_library_records_are_one_json_object_a_line(json_logs: io.StringIO) -> None:
    structlog.get_logger().info("buffer.committed", partition=3)
    logging.getLogger("aiokafka.consumer").error("no answer from %s", "node 1")
    ours, theirs = (json.loads(line) for line in json_logs.getvalue().splitlines())
    assert (ours["event"], ours["partition"], ours["level"]) == ("buffer.committed", 3, "info")
    assert (theirs["event"], theirs["level"]) == ("no answer from node 1", "error")


def test_the_level_is_that_of_our_own_events(logs: Configure) -> None:
    written = logs("json", "debug")
    structlog.get_logger().debug("buffer.committed")
    assert json.loads(written.getvalue())["event"] == "buffer.committed"
    written = logs("json", "info")
    structlog.get_logger().debug("buffer.committed")
    assert written.getvalue() == ""


@pytest.mark.parametrize("library", ["openai", "httpx2", "httpcore2", "sqlalchemy.engine.Engine", "aiokafka.conn"])
def test_at_debug_level_no_library_shows_what_it_sends_or_receives(logs: Configure, library: str) -> None:
    written = logs("json", "debug")
    # As OPENAI_LOG=debug and the like do, after we have set it.
    logging.getLogger(library).setLevel(logging.DEBUG)
    logging.getLogger(library).debug("Request options: %s", {"messages": [SAID]})
    logging.getLogger(library).info("Row %r", (SAID,))
    logging.getLogger(library).setLevel(logging.NOTSET)
    assert written.getvalue() == ""


def test_a_library_that_is_not_quiet_may_warn(json_logs: io.StringIO) -> None:
    logging.getLogger("dotenv.main").warning("could not parse line %d", 3)
    assert json.loads(json_logs.getvalue())["event"] == "could not parse line 3"


def failure(kind: str) -> Exception:
    """An exception as it comes when a record is at fault, with what was said in its text."""
    try:
        match kind:
            case "key":
                raise KeyError(SAID)
            case "number":
                int(SAID)
            case "validation":
                TypeAdapter(int).validate_python(SAID)
            case "json":
                orjson.dumps({SAID: object()}, option=orjson.OPT_NON_STR_KEYS)
            case "row":
                refused = asyncpg.NotNullViolationError(f"null value\nDETAIL: Failing row contains ({SAID})")
                raise IntegrityError("INSERT", {"text": SAID}, refused, hide_parameters=True) from refused
            case "group":
                raise ExceptionGroup(SAID, [ValueError(SAID), RetryLater("the endpoint cannot be reached")])
            case _:
                try:
                    int(SAID)
                except ValueError as error:
                    raise RuntimeError(SAID) from error
    except (KeyError, ValueError, ValidationError, TypeError, IntegrityError, RuntimeError, ExceptionGroup) as error:
        error.add_note(SAID)
        return error
    raise AssertionError(kind)


@pytest.mark.parametrize("form", ["json", "console"])
@pytest.mark.parametrize("kind", ["key", "number", "validation", "json", "row", "group", "chain"])
def test_a_traceback_names_exceptions_and_lines_and_withholds_texts_that_may_quote_a_record(
    logs: Configure, form: Literal["json", "console"], kind: str
) -> None:
    written = logs(form, "debug")
    error = failure(kind)
    structlog.get_logger().error("worker.failed", exc_info=error)
    logging.getLogger("faust.agents").error("Crashed reason=%r", error, exc_info=error)
    # As a loop's exception handler puts it together.
    unseen = "\n".join(["Task exception was never retrieved", f"future: <Task exception={error!r}>"])
    logging.getLogger("asyncio").error(unseen, exc_info=error)
    output = written.getvalue()
    assert SAID not in output
    assert type(error).__name__ in output
    assert "test_logs.py" in output


def test_a_traceback_holds_no_local_variables(json_logs: io.StringIO) -> None:
    secret = "what the user " + "said"
    try:
        raise RetryLater("the endpoint cannot be reached")
    except RetryLater as error:
        structlog.get_logger().error("worker.failed", exc_info=error)
    written = json_logs.getvalue()
    assert "the endpoint cannot be reached" in written
    assert secret not in written


def test_what_nobody_catches_is_an_event_like_others(json_logs: io.StringIO) -> None:
    error = failure("key")
    sys.excepthook(type(error), error, error.__traceback__)
    threading.excepthook(threading.ExceptHookArgs((type(error), error, error.__traceback__, threading.main_thread())))
    process, thread = (json.loads(line) for line in json_logs.getvalue().splitlines())
    assert (process["event"], process["level"]) == ("process.failed", "critical")
    assert (thread["event"], thread["thread"]) == ("process.thread_failed", "MainThread")
    assert SAID not in json_logs.getvalue()


def test_a_task_that_fails_unseen_does_not_show_its_text(json_logs: io.StringIO) -> None:
    async def fail() -> None:
        raise ValueError(SAID)

    async def main() -> None:
        task = asyncio.create_task(fail())
        await asyncio.sleep(0)
        del task

    asyncio.run(main())
    assert json.loads(json_logs.getvalue())["event"] == "Task exception was never retrieved"
    assert SAID not in json_logs.getvalue()


@pytest.mark.parametrize(
    ("error", "text"),
    [
        (RetryLater("the endpoint cannot be reached"), "the endpoint cannot be reached"),
        (ConnectionRefusedError(111, "refused"), "[Errno 111] refused"),
        (KafkaConnectionError("no node"), "KafkaConnectionError: no node"),
        (failure("row"), "NotNullViolationError (23502)"),
        (ValueError(SAID), WITHHELD),
    ],
)
def test_an_exception_says_what_it_can_without_quoting(error: Exception, text: str) -> None:
    assert text in describe_error(error)


def record(message: str, created: float, name: str = "aiokafka.client", *args: object) -> logging.LogRecord:
    made = logging.LogRecord(name, logging.ERROR, __file__, 1, message, args, None)
    made.created = created
    return made


def test_a_repeated_library_message_passes_once_in_a_while_and_says_how_often_it_came() -> None:
    repeats = LibraryFilter("ours", ("aiokafka",), AFTER_S)
    came = [record("cannot connect to %s", second, "aiokafka.client", f"node {second}") for second in range(12)]
    passed = [entry for entry in came if repeats.filter(entry)]
    assert [entry.getMessage() for entry in passed] == [
        "cannot connect to node 0",
        "cannot connect to node 10 (9 more like this before)",
    ]


def test_other_messages_and_our_own_events_always_pass() -> None:
    repeats = LibraryFilter("ours", ("aiokafka",), AFTER_S)
    assert all(repeats.filter(record(message, 0.0)) for message in ("one", "another"))
    assert all(repeats.filter(record("relay.waiting", second, "ours")) for second in range(5))
