"""`python -m benchmarks.whole_path`: chat-messages to Postgres and change topics in one worker, with a model of 0 ms.

Everything but the model and its HTTP is real; see benchmarks/scripted_model.py. Prints what it measured as JSON, and
writes it to benchmarks/out/whole_path_TOKENS.json.
"""

import argparse
import asyncio
import contextlib
import logging
import os
import resource
import sys
import tempfile
import time
from collections.abc import AsyncIterator, MutableMapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Final

import psutil
import structlog
import uvloop
from sqlalchemy import func, select
from sqlalchemy.ext.asyncio import AsyncEngine

from benchmarks import scripted_model
from benchmarks.conversations import conversations
from benchmarks.installation import fill
from benchmarks.machine import MIB
from benchmarks.reports import write
from benchmarks.scripted_model import ScriptedModel
from cli.running import collect_less_often
from embedded import embedded_services
from schemas.settings import Settings
from storage.database import create_engine
from storage.tables import ledger, outbox
from streams.logs import configure_logging
from streams.worker import ROLES, run_worker

TIMEOUT_S: Final = 600.0
POLL_S: Final = 0.1


@dataclass(frozen=True, slots=True)
class WholePath:
    """One worker from the moment its partitions are open until the outbox is empty; buffered tails remain.

    `cpu_s` is the worker's own, with the script that plays the model; `services_cpu_s` that of Kafka and Postgres.
    """

    window_tokens: int
    records: int
    users: int
    windows: int
    changes: int
    completions: int
    embedding_calls: int
    seconds: float
    records_per_s: float
    windows_per_s: float
    cpu_s: float
    services_cpu_s: float
    rss_mib: float


@dataclass(slots=True)
class Progress:
    """What the worker's log says; a processor for structlog, before those of the log itself."""

    opened_at_s: float = 0.0
    published_at_s: float = 0.0
    cpu_at_s: float = 0.0
    buffered: int = 0
    windows: int = 0
    changes: int = 0

    def __call__(self, _logger: Any, _method: str, event: MutableMapping[str, Any]) -> MutableMapping[str, Any]:
        match event["event"]:
            case "buffer.partition_opened":
                self.opened_at_s, self.cpu_at_s = time.perf_counter(), time.process_time()
            case "buffer.committed":
                self.buffered += event.get("buffered", 0)
                self.windows += sum(count for name, count in event.items() if name.startswith("window."))
                raise structlog.DropEvent
            case "relay.published":
                self.published_at_s = time.perf_counter()
                self.changes += event["rows"]
        return event


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.whole_path", description=__doc__)
    parser.add_argument("--window-tokens", type=int, default=8192)
    parser.add_argument("--records", type=int, default=60_000)
    parser.add_argument("--users", type=int, default=60)
    parser.add_argument("--partitions", type=int, default=4)
    parser.add_argument("--tokenizer", choices=["estimate", "tiktoken"], default="estimate")
    options = parser.parse_args()
    # aiokafka tells of every partition that has no leader yet; our own log is part of what is measured.
    logging.getLogger("aiokafka").setLevel(logging.CRITICAL)
    # As the program runs a worker.
    collect_less_often()
    measured = uvloop.run(_measure_embedded(options))
    print(write(f"whole_path_{options.window_tokens}", asdict(measured)).read_text())
    return 0


async def _measure_embedded(options: argparse.Namespace) -> WholePath:
    with tempfile.TemporaryDirectory() as folder:
        async with embedded_services(Path(folder) / "data") as addresses:
            configured = settings_of(
                addresses.bootstrap_servers,
                addresses.database_url,
                options.window_tokens,
                partitions=options.partitions,
                tokenizer=options.tokenizer,
            )
            await fill(configured.kafka, configured.buffer, conversations(options.records, options.users))
            return await measure_whole_path(configured, options.records, options.users)


def settings_of(
    bootstrap_servers: str,
    database_url: str,
    window_tokens: int,
    *,
    topic_prefix: str = "",
    partitions: int = 4,
    tokenizer: str = "estimate",
) -> Settings:
    """The defaults, but for addresses, sizes and a model that is part of the process."""
    return Settings.model_validate(
        scripted_model.configuration(
            kafka={"bootstrap_servers": bootstrap_servers, "topic_prefix": topic_prefix, "partitions": partitions},
            storage={"database_url": database_url},
            buffer={"max_chat_blob_buffer_token_size": window_tokens, "tokenizer": tokenizer},
        )
    )


async def measure_whole_path(settings: Settings, records: int, users: int) -> WholePath:
    """Run one worker of all roles over the records that `chat-messages` holds, on a database that holds nothing."""
    progress, model = Progress(), ScriptedModel()
    engine = create_engine(settings.storage)
    async with _worker(settings, progress, model) as worker:
        before_s = _services_cpu_s()
        async with asyncio.timeout(TIMEOUT_S):
            while not await _is_done(engine, progress, records):
                if worker.done():
                    raise RuntimeError(f"the worker ended by itself with {worker.result()}")
                await asyncio.sleep(POLL_S)
        cpu_s, services_cpu_s = time.process_time() - progress.cpu_at_s, _services_cpu_s() - before_s
        rss_mib = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024 / MIB
    await engine.dispose()
    seconds = progress.published_at_s - progress.opened_at_s
    return WholePath(
        window_tokens=settings.buffer.max_chat_blob_buffer_token_size,
        records=records,
        users=users,
        windows=progress.windows,
        changes=progress.changes,
        completions=model.calls["extract"] + model.calls["merge"],
        embedding_calls=model.calls["embed"],
        seconds=round(seconds, 3),
        records_per_s=round(records / seconds, 1),
        windows_per_s=round(progress.windows / seconds, 2),
        cpu_s=round(cpu_s, 2),
        services_cpu_s=round(services_cpu_s, 2),
        rss_mib=round(rss_mib, 1),
    )


@contextlib.asynccontextmanager
async def _worker(settings: Settings, progress: Progress, model: ScriptedModel) -> AsyncIterator["asyncio.Task[int]"]:
    """A worker with a log as in production, written where nobody reads it."""
    with Path(os.devnull).open("w", encoding="utf-8") as nowhere:  # noqa: ASYNC230
        configure_logging(settings.worker, nowhere)
        # Committed batches are told at debug, which the log itself leaves out.
        structlog.configure(
            processors=[progress, *structlog.get_config()["processors"]],
            wrapper_class=structlog.make_filtering_bound_logger(logging.DEBUG),
        )
        stop = asyncio.Event()
        worker = asyncio.create_task(run_worker(settings, ROLES, stop, model.client()))
        try:
            yield worker
        finally:
            stop.set()
            await worker


async def _is_done(engine: AsyncEngine, progress: Progress, records: int) -> bool:
    """Whether all records are buffered, all windows that closed are applied, and all of it is published."""
    if progress.buffered >= records and not progress.windows:
        raise RuntimeError("no window has closed: take more records, fewer users or smaller windows")
    if progress.buffered < records or not progress.changes:
        return False
    async with engine.connect() as connection:
        applied = (await connection.execute(select(func.count()).select_from(ledger))).scalar_one()
        unpublished = (await connection.execute(select(func.count()).select_from(outbox))).scalar_one()
    return applied == progress.windows and not unpublished


def _services_cpu_s() -> float:
    """What this process's children have used so far, Kafka and Postgres; what has ended counts with its parent."""
    total = 0.0
    for process in psutil.Process().children(recursive=True):
        with contextlib.suppress(psutil.NoSuchProcess):
            times = process.cpu_times()
            total += times.user + times.system + times.children_user + times.children_system
    return total


if __name__ == "__main__":
    sys.exit(main())
