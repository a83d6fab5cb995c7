"""A worker that dies where it is told: `python -m tests.chaos.worker CONFIG ARMED`, of all roles, as in production.

A file in the folder ARMED that is named after a boundary (schedule.py) kills the first worker that comes there. The
production code knows nothing of it: its methods are wrapped here, before the worker starts.
"""

import asyncio
import os
import signal
import sys
import threading
import time
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any, Final

import asyncpg
from sqlalchemy.dialects.postgresql.asyncpg import AsyncAdapt_asyncpg_connection
from sqlalchemy.ext.asyncio import AsyncConnection
from sqlalchemy.util.concurrency import await_

from agents.application import Applier
from cli.running import run_until_stopped
from schemas.settings import load_settings
from streams.buffer_state import PartitionState
from streams.logs import configure_logging
from streams.partition_owner import PartitionOwner
from streams.relay import Relay
from streams.relay_publisher import ShardPublisher
from streams.transactions import PartitionTransactions
from streams.worker import run_worker
from tests.chaos.schedule import COMMIT_ERRORS
from tests.chaos.waits import print_waits

ORPHAN_CHECK_S: Final = 1.0
Method = Callable[..., Any]


class Armed:
    """The boundaries that are armed now, as files: whoever takes one away is the one who dies."""

    def __init__(self, folder: Path) -> None:
        self._folder = str(folder)

    def take(self, name: str) -> bool:
        try:
            os.unlink(f"{self._folder}/{name}")  # noqa: PTH108 - in the hot path of every batch
        except FileNotFoundError:
            return False
        return True

    def die_at(self, name: str) -> None:
        """As the kernel does when memory runs out: no farewell to anybody."""
        if self.take(name):
            os.kill(os.getpid(), signal.SIGKILL)
            time.sleep(60)


def around(owner: type, name: str, armed: Armed, before: str | None = None, after: str | None = None) -> None:
    """Make a coroutine method of a class a place to die: before it begins, or once it has returned."""
    original: Callable[..., Awaitable[Any]] = getattr(owner, name)

    async def wrapped(self: Any, *arguments: Any, **options: Any) -> Any:
        if before is not None:
            armed.die_at(before)
        result = await original(self, *arguments, **options)
        if after is not None:
            armed.die_at(after)
        return result

    setattr(owner, name, wrapped)


def wrap(armed: Armed) -> None:
    """Every boundary of schedule.py; a method that is not there any more is an error at the start."""
    around(PartitionOwner, "_process", armed, before="after-poll")
    around(PartitionTransactions, "open", armed, after="after-fencing")
    around(Applier, "_commit", armed, after="after-postgres-commit")
    around(ShardPublisher, "publish", armed, before="before-relay-send", after="after-relay-commit")
    around(ShardPublisher, "_send_all", armed, after="before-relay-commit")
    around(Relay, "_delete", armed, after="after-relay-delete")
    _wrap_transactions(armed)
    _wrap_store(armed)
    doomed: dict[int, str] = {}
    _wrap_extraction(armed, doomed)
    _wrap_database(doomed)


def _wrap_transactions(armed: Armed) -> None:
    """Around the one call of aiokafka's producer that commits."""
    original: Method = PartitionTransactions.__init__

    def wrapped(self: Any, *arguments: Any, **options: Any) -> None:
        original(self, *arguments, **options)
        producer = self._producer
        commit = producer.commit_transaction

        async def commit_transaction() -> None:
            armed.die_at("before-kafka-commit")
            await commit()
            armed.die_at("after-kafka-commit")

        producer.commit_transaction = commit_transaction

    setattr(PartitionTransactions, "__init__", wrapped)  # noqa: B010 - mypy takes no assignment


def _wrap_store(armed: Armed) -> None:
    original: Method = PartitionState.commit

    def commit(self: Any, *arguments: Any, **options: Any) -> None:
        original(self, *arguments, **options)
        armed.die_at("after-store-write")

    setattr(PartitionState, "commit", commit)  # noqa: B010


def _wrap_extraction(armed: Armed, doomed: dict[int, str]) -> None:
    """The last thing in the transaction is what is run inside it."""
    original: Method = Applier._commit

    async def commit(self: Any, application: Any, attempt: Any, in_transaction: Any) -> None:
        async def and_then(connection: AsyncConnection) -> None:
            await in_transaction(connection)
            armed.die_at("before-postgres-commit")
            for error in COMMIT_ERRORS:
                if armed.take(error):
                    raw = await connection.get_raw_connection()
                    doomed[id(raw.dbapi_connection)] = error

        await original(self, application, attempt, and_then)

    setattr(Applier, "_commit", commit)  # noqa: B010


def _wrap_database(doomed: dict[int, str]) -> None:
    """A commit that Postgres refuses, and one that is done and whose answer is lost with the connection."""
    original: Method = AsyncAdapt_asyncpg_connection.commit

    def commit(self: Any) -> None:
        error = doomed.pop(id(self), None)
        if error == "commit-refused":
            self.rollback()
            self._handle_exception(asyncpg.SerializationError("could not serialize access, says the test"))
        original(self)
        if error == "commit-answer-lost":
            await_(self._connection.close())
            self._handle_exception(asyncpg.ConnectionDoesNotExistError("connection was closed, says the test"))

    setattr(AsyncAdapt_asyncpg_connection, "commit", commit)  # noqa: B010


def _end_with(parent: int) -> None:
    """A worker whose conductor was killed ends, too."""
    while os.getppid() == parent:
        time.sleep(ORPHAN_CHECK_S)
    os._exit(3)


def main(config: Path, armed: Path) -> int:
    threading.Thread(target=_end_with, args=(os.getppid(),), daemon=True).start()
    settings = load_settings(config, environ={})
    configure_logging(settings.worker)
    wrap(Armed(armed))

    async def work(stop: asyncio.Event) -> int:
        asyncio.get_running_loop().add_signal_handler(signal.SIGUSR1, print_waits)
        return await run_worker(settings, stop=stop)

    return run_until_stopped(work)


if __name__ == "__main__":
    sys.exit(main(Path(sys.argv[1]), Path(sys.argv[2])))
