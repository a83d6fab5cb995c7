"""`python -m benchmarks.replay`: records a second into live memory, and into a shadow with 1 to 3 workers beside it.

Every worker is a process of its own with a model that takes half a second a call. Live messages go on at a steady rate,
and their latency is measured beside. Writes benchmarks/out/replay.json.
"""

import argparse
import asyncio
import contextlib
import logging
import tempfile
import time
from collections.abc import AsyncIterator, Sequence
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Final

import uvloop
from sqlalchemy import func, select

from benchmarks.conversations import conversations
from benchmarks.installation import fill
from benchmarks.machine import WORKER_PACKAGES, machine, shown
from benchmarks.reports import percentile, write
from benchmarks.scripted_model import configuration
from benchmarks.steady_load import SteadyLoad, steady_load
from benchmarks.worker_process import worker_processes
from cli.replay_range import Bound, ReplayRange
from cli.replay_shadow import make_shadow, plan_shadow
from embedded import embedded_services
from embedded.addresses import EmbeddedAddresses
from schemas.settings import Settings
from storage.columns import LIVE_GENERATION
from storage.database import create_engine
from storage.migrate import migrate
from storage.tables import units
from storage.text import epoch_ms
from streams.topics import Topics

CALL_S: Final = 0.5
# Extract, then merge or embed, which run side by side.
CALLS_IN_A_ROW: Final = 2
SHADOW_ROLES: Final = ("buffer", "extraction")
LIVE_ROLES: Final = (*SHADOW_ROLES, "relay")
PARTITIONS: Final = 6
# Every window is full, and none is extracted together with the next, which has no room beside it.
WINDOW_RECORDS: Final = 16
WINDOW_TOKENS: Final = 1000
# Of the records that are done while all workers run: what comes last leaves some of them idle.
MEASURED_UP_TO: Final = 0.9
POLL_S: Final = 0.5

Applied = Sequence[tuple[datetime, int]]


@dataclass(frozen=True, slots=True)
class Latency:
    """From sending a window's last message to its change, of live messages; None where none came."""

    windows: int
    p50_s: float | None
    p95_s: float | None


@dataclass(frozen=True, slots=True)
class Pace:
    """`into` is live or shadow. From when all workers run until most records are done; `took_s` from their start."""

    into: str
    workers: int
    records_per_s: float
    took_s: float
    live: Latency


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.replay", description=__doc__)
    parser.add_argument("--workers", type=int, nargs="+", default=[1, 2, 3], help="of the shadow")
    parser.add_argument("--users", type=int, default=240)
    parser.add_argument("--windows", type=int, default=6, help=f"of each user, of {WINDOW_RECORDS} records")
    parser.add_argument("--concurrency", type=int, default=8, help="users that a worker extracts side by side")
    parser.add_argument("--per-second", type=float, default=40.0, help="live messages sent a second")
    parser.add_argument("--seconds", type=float, default=30.0, help="how long they are measured by themselves")
    options = parser.parse_args()
    logging.disable(logging.ERROR)
    uvloop.run(_measure_all(options))


async def _measure_all(options: argparse.Namespace) -> None:
    described = machine(WORKER_PACKAGES)
    print(shown(described))
    with tempfile.TemporaryDirectory() as folder:
        async with embedded_services(Path(folder) / "data") as addresses:
            await migrate(addresses.database_url, embedding_dimension=configuration()["embedding"]["dimension"])
            installation = Installation(addresses, options)
            async with worker_processes(1, installation.configured, LIVE_ROLES, CALL_S):
                live = await installation.measure_live()
                async with installation.live_messages() as load:
                    alone = await installation.latency_alone(load, options.seconds)
                    paces = [live, *[await installation.measure_shadow(n, load) for n in options.workers]]
    ideal_per_s = options.concurrency * WINDOW_RECORDS / (CALLS_IN_A_ROW * CALL_S)
    _show(paces, alone, ideal_per_s)
    document = {
        "machine": described,
        **vars(options),
        "call_s": CALL_S,
        "calls_in_a_row": CALLS_IN_A_ROW,
        "window_records": WINDOW_RECORDS,
        "records": installation.records,
        "ideal_records_per_s_of_a_worker": ideal_per_s,
        "live_alone": asdict(alone),
        "paces": [asdict(pace) for pace in paces],
        "of_one_worker": {str(workers): round(growth, 3) for workers, growth in growth_of(paces).items()},
    }
    print(f"\nwritten to {write('replay', document)}")


class Installation:
    """A broker and a database with one live worker, and the range that is replayed."""

    def __init__(self, addresses: EmbeddedAddresses, options: argparse.Namespace) -> None:
        self.configured = configuration(
            kafka={"bootstrap_servers": addresses.bootstrap_servers, "partitions": PARTITIONS},
            storage={"database_url": addresses.database_url},
            extraction={"concurrency": options.concurrency},
            buffer={
                "tokenizer": "estimate",
                "max_window_blobs": WINDOW_RECORDS,
                "max_chat_blob_buffer_token_size": WINDOW_TOKENS,
                "max_chat_blob_buffer_process_token_size": WINDOW_TOKENS,
            },
        )
        self.records: int = options.users * options.windows * WINDOW_RECORDS
        self._settings = Settings.model_validate(self.configured)
        self._users: int = options.users
        self._per_second: float = options.per_second
        self._loaded_ms = 0
        # Slower than a worker by itself can be expected to be, whatever the machine.
        self._patience_s = 120.0 + 8 * self.records * CALL_S / (options.concurrency * WINDOW_RECORDS)

    async def measure_live(self) -> Pace:
        """Load the range, and let the worker that runs already make memory of it; nothing else is sent meanwhile."""
        began = datetime.now(UTC)
        await fill(self._settings.kafka, self._settings.buffer, conversations(self.records, self._users))
        applied = await self._applied(LIVE_GENERATION, began)
        self._loaded_ms = epoch_ms(datetime.now(UTC))
        return _pace("live", 1, applied, began, began, Latency(0, None, None))

    @contextlib.asynccontextmanager
    async def live_messages(self) -> AsyncIterator[SteadyLoad]:
        """Of other users, at a steady rate while the block runs."""
        settings = self._settings
        async with steady_load(settings.kafka, settings.relay.shards, "live-", self._per_second) as load:
            yield load

    async def latency_alone(self, load: SteadyLoad, seconds: float) -> Latency:
        begin_s = time.perf_counter()
        await asyncio.sleep(seconds)
        return latency_of(load.seen.delays_s(load.seen.changed_s, begin_s, time.perf_counter()))

    async def measure_shadow(self, workers: int, load: SteadyLoad) -> Pace:
        """Replay the range into a shadow of its own."""
        name = f"w{workers}"
        settings = self._settings
        topic = Topics(settings.kafka.topic_prefix).chat_messages
        wanted = ReplayRange(topic, None, Bound(), Bound(time_ms=self._loaded_ms))
        shadow = await make_shadow(settings, name, await plan_shadow(settings, wanted, quiet=True), None)
        began = datetime.now(UTC)
        async with worker_processes(workers, self.configured, SHADOW_ROLES, CALL_S, shadow=name):
            joined, begin_s = datetime.now(UTC), time.perf_counter()
            applied = await self._applied(shadow.generation, began)
            live = latency_of(load.seen.delays_s(load.seen.changed_s, begin_s, time.perf_counter()))
        return _pace("shadow", workers, applied, began, joined, live)

    async def _applied(self, generation: int, began: datetime) -> Applied:
        """How many records were applied when, by the workers' clock; waits until the whole range is."""
        query = (
            select(units.c.recorded_at, func.count())
            .where(units.c.generation == generation, units.c.user_id.like("user-%"), units.c.recorded_at >= began)
            .group_by(units.c.recorded_at)
            .order_by(units.c.recorded_at)
        )
        engine = create_engine(self._settings.storage)
        try:
            async with asyncio.timeout(self._patience_s):
                while True:
                    async with engine.connect() as connection:
                        rows = [(row[0], row[1]) for row in (await connection.execute(query)).all()]
                    if sum(count for _, count in rows) >= self.records:
                        return rows
                    await asyncio.sleep(POLL_S)
        finally:
            await engine.dispose()


def _pace(into: str, workers: int, applied: Applied, began: datetime, joined: datetime, live: Latency) -> Pace:
    took_s = (applied[-1][0] - began).total_seconds()
    return Pace(into, workers, round(rate_of(applied, joined), 1), round(took_s, 1), live)


def rate_of(applied: Applied, begin: datetime) -> float:
    """Records a second from the first that were done after `begin` until most of all are done.

    Raises ValueError where that is no time: the range is too short, and nearly done before.
    """
    most = MEASURED_UP_TO * sum(count for _, count in applied)
    done = counted = 0
    first = last = None
    for at, count in applied:
        done += count
        if at < begin or done > most:
            continue
        if first is None:
            first = at
            continue
        counted, last = counted + count, at
    if first is None or last is None or last == first:
        raise ValueError("too few records are left once all workers run: replay more, as with --windows 12")
    return counted / (last - first).total_seconds()


def latency_of(delays_s: Sequence[float]) -> Latency:
    if not delays_s:
        return Latency(0, None, None)
    return Latency(len(delays_s), round(percentile(delays_s, 0.5), 3), round(percentile(delays_s, 0.95), 3))


def growth_of(paces: Sequence[Pace]) -> dict[int, float]:
    """By workers of the shadow, how many times as fast as the fewest that were measured."""
    shadows = [pace for pace in paces if pace.into == "shadow"]
    return {pace.workers: pace.records_per_s / shadows[0].records_per_s for pace in shadows}


def _show(paces: Sequence[Pace], alone: Latency, ideal_per_s: float) -> None:
    print(f"\nthe ideal of a worker is {ideal_per_s:.0f} records/s, by what the model takes")
    heads = ("workers", "records/s", "of the first", "took s", "live p50 s", "live p95 s")
    print(f"{'':10}" + "".join(f"{head:>14}" for head in heads))
    growth = growth_of(paces)
    for pace in paces:
        of_first = f"{growth[pace.workers]:.2f}" if pace.into == "shadow" else ""
        print(
            f"{pace.into:10}{pace.workers:>14}{pace.records_per_s:>14.1f}{of_first:>14}{pace.took_s:>14.1f}"
            f"{_seconds(pace.live.p50_s):>14}{_seconds(pace.live.p95_s):>14}"
        )
    print(f"live messages by themselves: p50 {_seconds(alone.p50_s)} s, p95 {_seconds(alone.p95_s)} s")


def _seconds(value: float | None) -> str:
    return "-" if value is None else f"{value:.2f}"


if __name__ == "__main__":
    main()
