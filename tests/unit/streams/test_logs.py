"""What a process writes about itself."""

import io
import json
import logging
from collections.abc import Iterator

import pytest
import structlog

from schemas.settings import WorkerSettings
from streams.logs import QUIET_LOGGERS, RepeatFilter, configure_logging

AFTER_S = 10.0


@pytest.fixture
def json_logs() -> Iterator[io.StringIO]:
    """What is written, as JSON."""
    root = logging.getLogger()
    handlers, level = root.handlers[:], root.level
    levels = {name: logging.getLogger(name).level for name in QUIET_LOGGERS}
    written = io.StringIO()
    configure_logging(WorkerSettings(log_format="json"), written)
    yield written
    structlog.reset_defaults()
    root.handlers[:] = handlers
    root.setLevel(level)
    for name, former in levels.items():
        logging.getLogger(name).setLevel(former)


def test_events_and_library_records_are_one_json_object_a_line(json_logs: io.StringIO) -> None:
    structlog.get_logger().info("buffer.committed", partition=3)
    logging.getLogger("aiokafka.consumer").error("no answer from %s", "node 1")
    ours, theirs = (json.loads(line) for line in json_logs.getvalue().splitlines())
    assert (ours["event"], ours["partition"], ours["level"]) == ("buffer.committed", 3, "info")
    assert (theirs["event"], theirs["level"]) == ("no answer from node 1", "error")


def test_a_traceback_holds_no_local_variables(json_logs: io.StringIO) -> None:
    secret = "what the user " + "said"
    try:
        raise RuntimeError("nobody expected this")
    except RuntimeError as error:
        structlog.get_logger().error("worker.failed", exc_info=error)
    written = json_logs.getvalue()
    assert "nobody expected this" in written
    assert secret not in written


def record(message: str, created: float, name: str = "aiokafka.client", *args: object) -> logging.LogRecord:
    made = logging.LogRecord(name, logging.ERROR, __file__, 1, message, args, None)
    made.created = created
    return made


def test_a_repeated_library_message_passes_once_in_a_while_and_says_how_often_it_came() -> None:
    repeats = RepeatFilter(("aiokafka",), AFTER_S)
    came = [record("cannot connect to %s", second, "aiokafka.client", f"node {second}") for second in range(12)]
    passed = [entry for entry in came if repeats.filter(entry)]
    assert [entry.getMessage() for entry in passed] == [
        "cannot connect to node 0",
        "cannot connect to node 10 (9 more like this before)",
    ]


def test_other_messages_and_our_own_events_always_pass() -> None:
    repeats = RepeatFilter(("aiokafka",), AFTER_S)
    assert all(repeats.filter(record(message, 0.0)) for message in ("one", "another"))
    assert all(repeats.filter(record("relay.waiting", second, "streams.relay")) for second in range(5))
