"""`python -m benchmarks.concurrency`: windows a second beside a slow model's ideal, and what a slow user costs others.

Windows lie on extraction-windows; each worker is a process of its own. Writes benchmarks/out/concurrency.json.
"""

import argparse
import asyncio
import logging
import tempfile
import time
from collections.abc import Collection, Iterator, Sequence
from dataclasses import asdict, dataclass
from datetime import datetime
from pathlib import Path
from typing import Any, Final
from uuid import UUID

import orjson
import uvloop
from sqlalchemy import select

from benchmarks.conversations import conversations
from benchmarks.machine import WORKER_PACKAGES, machine, shown
from benchmarks.reports import percentile, write
from benchmarks.scripted_model import configuration
from benchmarks.worker_process import worker_processes
from embedded import embedded_services
from embedded.addresses import EmbeddedAddresses
from schemas.identity import content_hash, window_id
from schemas.settings import Settings
from schemas.windows import Position, Unit, Window
from storage.database import create_engine
from storage.migrate import migrate
from storage.tables import ledger
from streams.clients import producer
from streams.topics import Topics, ensure_topics

CALL_S: Final = 1.0
# Extract, then merge or embed, which run side by side.
CALLS_IN_A_ROW: Final = 2
IN_FLIGHT: Final = 64
PARTITIONS: Final = 8
WINDOW_RECORDS: Final = 12
SLOW_CALL_S: Final = 60.0
SLOW_MARK: Final = "somebody who takes long"
SLOW_WINDOWS: Final = 200
POLL_S: Final = 0.5
TIMEOUT_S: Final = 240.0


@dataclass(frozen=True, slots=True)
class Rate:
    """Between the end of the first windows in flight and the end of all."""

    workers: int
    windows: int
    windows_per_s: float
    ideal_per_s: float

    @property
    def of_ideal(self) -> float:
        return self.windows_per_s / self.ideal_per_s


@dataclass(frozen=True, slots=True)
class Others:
    """From sending a window to its row in the ledger, of all users but the slow one."""

    with_slow_user: bool
    windows: int
    p50_s: float
    p99_s: float


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.concurrency", description=__doc__)
    parser.add_argument("--workers", type=int, nargs="+", default=[1, 2, 4])
    parser.add_argument("--rounds", type=int, default=8, help="windows that each of the calls in flight does")
    parser.add_argument("--seconds", type=float, default=20.0, help="how long windows are sent beside a slow user")
    parser.add_argument("--per-second", type=int, default=10, help="windows sent a second then")
    options = parser.parse_args()
    logging.disable(logging.ERROR)
    uvloop.run(_measure_all(options))


async def _measure_all(options: argparse.Namespace) -> None:
    described = machine(WORKER_PACKAGES)
    print(shown(described))
    with tempfile.TemporaryDirectory() as folder:
        async with embedded_services(Path(folder) / "data") as addresses:
            await migrate(addresses.database_url, embedding_dimension=configuration()["embedding"]["dimension"])
            rates = [await measure_rate(addresses, workers, options.rounds) for workers in options.workers]
            _show_rates(rates)
            others = [
                await measure_others(addresses, is_slow, options.seconds, options.per_second)
                for is_slow in (False, True)
            ]
            _show_others(others)
    document = {
        "machine": described,
        "call_s": CALL_S,
        "in_flight": IN_FLIGHT,
        "calls_in_a_row": CALLS_IN_A_ROW,
        "rates": [{**asdict(rate), "of_ideal": round(rate.of_ideal, 3)} for rate in rates],
        "slow_call_s": SLOW_CALL_S,
        "slow_windows": SLOW_WINDOWS,
        "others": [asdict(item) for item in others],
    }
    print(f"\nwritten to {write('concurrency', document)}")


async def measure_rate(addresses: EmbeddedAddresses, workers: int, rounds: int) -> Rate:
    """Each window is another user's, and every worker has the same number of them."""
    configured = _configured(addresses, f"rate{workers}-")
    settings = Settings.model_validate(configured)
    first = IN_FLIGHT * workers
    count = first * rounds
    await ensure_topics(settings.kafka, settings.buffer)
    async with worker_processes(workers, configured, ["extraction", "relay"], CALL_S):
        sent = await _send(settings, _windows(f"rate{workers}", count))
        done = sorted((await _finished(settings, sent)).values())
    windows_per_s = (count - first) / (done[-1] - done[first - 1]).total_seconds()
    return Rate(workers, count, round(windows_per_s, 2), first / (CALLS_IN_A_ROW * CALL_S))


async def measure_others(addresses: EmbeddedAddresses, is_slow: bool, seconds: float, per_second: int) -> Others:
    """Windows of one user each, sent evenly, with or without one whose every call takes a minute and who has many."""
    name = "slow" if is_slow else "alone"
    configured = _configured(addresses, f"{name}-")
    settings = Settings.model_validate(configured)
    topic = Topics(settings.kafka.topic_prefix).extraction_windows
    count = int(seconds * per_second)
    await ensure_topics(settings.kafka, settings.buffer)
    roles = ["extraction", "relay"]
    async with (
        worker_processes(1, configured, roles, CALL_S, {SLOW_MARK: SLOW_CALL_S}),
        producer(settings.kafka) as client,
    ):
        if is_slow:
            slow = [_window("slow", number, f"{SLOW_MARK}: ") for number in range(SLOW_WINDOWS)]
            for window in slow:
                # On the partition of everybody else, or nobody would be behind them.
                await client.send(topic, window.model_dump_json().encode(), key=b"slow", partition=0)
            await client.flush()
        sent: dict[UUID, float] = {}
        begin = time.time()
        for number, window in enumerate(_windows(name, count)):
            await asyncio.sleep(max(0.0, begin + number / per_second - time.time()))
            sent[window.window_id] = time.time()
            await client.send(topic, window.model_dump_json().encode(), key=window.user_id.encode(), partition=0)
        done = await _finished(settings, sent)
    took = [at.timestamp() - sent[identifier] for identifier, at in done.items()]
    return Others(is_slow, count, round(percentile(took, 0.5), 3), round(percentile(took, 0.99), 3))


def _configured(addresses: EmbeddedAddresses, topic_prefix: str) -> dict[str, Any]:
    return configuration(
        kafka={
            "bootstrap_servers": addresses.bootstrap_servers,
            "topic_prefix": topic_prefix,
            "partitions": PARTITIONS,
        },
        storage={"database_url": addresses.database_url},
        extraction={"concurrency": IN_FLIGHT},
    )


def _windows(name: str, count: int) -> Iterator[Window]:
    for number in range(count):
        yield _window(f"{name}-{number}", 0)


def _window(user_id: str, number: int, said_before: str = "") -> Window:
    """Of a dozen records that nobody else has said."""
    units = []
    for turn, (_, value) in enumerate(conversations(WINDOW_RECORDS, 1)):
        blob = orjson.loads(value)
        content = {name: blob[name] for name in ("blob_type", "blob_data", "session_id", "created_at")}
        first = content["blob_data"]["messages"][0]
        first["content"] = said_before + first["content"]
        said_at_ms = round(datetime.fromisoformat(blob["created_at"]).timestamp() * 1000)
        units.append(
            Unit(
                blob_id=f"{user_id}-{number}-{turn}",
                content_hash=content_hash(content),
                token_count=40,
                occurred_at_ms=said_at_ms,
                recorded_at_ms=said_at_ms,
                position=Position(
                    topic="chat-messages", partition=0, offset=number * WINDOW_RECORDS + turn, timestamp_ms=said_at_ms
                ),
                content=content,
            )
        )
    return Window(
        window_id=window_id("default", user_id, [unit.key for unit in units]),
        project_id="default",
        user_id=user_id,
        blob_type="chat",
        reason="tokens",
        token_count=sum(unit.token_count for unit in units),
        units=units,
    )


async def _send(settings: Settings, windows: Iterator[Window]) -> list[UUID]:
    """Dealt out to the partitions, so that every worker has as many."""
    topic = Topics(settings.kafka.topic_prefix).extraction_windows
    sent = []
    async with producer(settings.kafka, linger_ms=20) as client:
        for number, window in enumerate(windows):
            await client.send(
                topic, window.model_dump_json().encode(), key=window.user_id.encode(), partition=number % PARTITIONS
            )
            sent.append(window.window_id)
    return sent


async def _finished(settings: Settings, wanted: Collection[UUID]) -> dict[UUID, datetime]:
    """When each of these windows was applied, by the workers' clock; waits until all are."""
    engine = create_engine(settings.storage)
    query = select(ledger.c.ledger_id, ledger.c.recorded_at).where(
        ledger.c.topic == Topics(settings.kafka.topic_prefix).extraction_windows
    )
    try:
        async with asyncio.timeout(TIMEOUT_S):
            while True:
                async with engine.connect() as connection:
                    rows = (await connection.execute(query)).all()
                done = {row.ledger_id: row.recorded_at for row in rows}
                if done.keys() >= set(wanted):
                    return {identifier: done[identifier] for identifier in wanted}
                await asyncio.sleep(POLL_S)
    finally:
        await engine.dispose()


def _show_rates(rates: Sequence[Rate]) -> None:
    print(f"\n{'workers':>8}{'windows':>9}{'windows/s':>11}{'ideal':>8}{'of ideal':>10}{'of one worker':>15}")
    for rate in rates:
        of_one = rate.windows_per_s / rates[0].windows_per_s
        print(
            f"{rate.workers:>8}{rate.windows:>9}{rate.windows_per_s:>11.1f}{rate.ideal_per_s:>8.0f}"
            f"{rate.of_ideal:>10.1%}{of_one:>15.2f}"
        )


def _show_others(others: Sequence[Others]) -> None:
    print(f"\n{'the others':32}{'windows':>9}{'p50 s':>9}{'p99 s':>9}")
    for item in others:
        name = f"beside a user of {SLOW_CALL_S:.0f} s a call" if item.with_slow_user else "by themselves"
        print(f"{name:32}{item.windows:>9}{item.p50_s:>9.2f}{item.p99_s:>9.2f}")


if __name__ == "__main__":
    main()
