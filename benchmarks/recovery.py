"""`python -m benchmarks.recovery`: what a killed worker costs, and a rolling restart, while records come.

Three workers of all roles, in processes of their own, with default settings and a scripted model of 0 ms. Writes
benchmarks/out/recovery.json. Exits with 1 if a killed worker's work stood still for longer than it may.
"""

import argparse
import asyncio
import contextlib
import logging
import socket
import sys
import tempfile
import time
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Final

import httpx2
import uvloop
from sqlalchemy import select

from benchmarks.machine import machine, shown
from benchmarks.reports import percentile, write
from benchmarks.scripted_model import configuration
from benchmarks.steady_load import USERS, WINDOW_RECORDS, SteadyLoad, resumed_after_s, steady_load
from benchmarks.worker_process import start_worker
from embedded import embedded_services
from embedded.addresses import EmbeddedAddresses
from schemas.settings import Settings
from storage.database import create_engine
from storage.tables import relay_leases
from streams.topics import Topics, ensure_topics
from streams.worker import ROLES, migrate_database
from tests.support.ports import free_port

WORKERS: Final = 3
MAX_LOST_S: Final = 15.0
STORES: Final = ("memory", "rocksdb")
# And at least until every user has had a window.
WARM_UP_S: Final = 10.0
# From a kill on: longer than it may take.
WATCHED_S: Final = 22.0
QUIET_S: Final = 3.0
POLL_S: Final = 0.1
TIMEOUT_S: Final = 180.0
PACKAGES: Final = ("aiokafka", "asyncpg", "faust-streaming", "sqlalchemy", "uvloop")


@dataclass(frozen=True, slots=True)
class Lost:
    """From a kill until another worker went on: the longest of all partitions or shards that the killed one had."""

    store: str
    work: str
    pieces: int
    longest_s: float


@dataclass(frozen=True, slots=True)
class Delays:
    """From sending a record to its commit by the buffer, or from a window's last record to its change event."""

    name: str
    what: str
    count: int
    p50_s: float
    p99_s: float
    most_s: float


@dataclass(slots=True)
class Figures:
    lost: list[Lost] = field(default_factory=list)
    delays: list[Delays] = field(default_factory=list)
    stop_s: list[float] = field(default_factory=list)
    ready_s: list[float] = field(default_factory=list)
    idle_stop_s: list[float] = field(default_factory=list)


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.recovery", description=__doc__)
    parser.add_argument(
        "--per-second",
        type=float,
        default=300.0,
        help="records sent a second; with few, pauses between windows are part of the figures",
    )
    parser.add_argument("--stores", nargs="+", choices=STORES, default=list(STORES))
    options = parser.parse_args()
    logging.disable(logging.ERROR)
    return uvloop.run(_measure_all(options))


async def _measure_all(options: argparse.Namespace) -> int:
    described = machine(PACKAGES)
    print(shown(described), flush=True)
    figures = Figures()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        async with embedded_services(folder / "services") as addresses:
            for store in options.stores:
                await measure(addresses, folder, store, options.per_second, figures, restarts=store == STORES[0])
    _show_restart(figures)
    document = {
        "machine": described,
        "workers": WORKERS,
        "records_per_s": options.per_second,
        "max_lost_s": MAX_LOST_S,
        **asdict(figures),
    }
    print(f"\nwritten to {write('recovery', document)}")
    return 0 if all(item.longest_s <= MAX_LOST_S for item in figures.lost) else 1


async def measure(
    addresses: EmbeddedAddresses, folder: Path, store: str, per_s: float, figures: Figures, *, restarts: bool
) -> None:
    """Kill one worker of three; then, with `restarts`, restart all of them one after the other."""
    workers = Workers(addresses, folder, store)
    settings = workers.settings
    await migrate_database(settings)
    await ensure_topics(settings.kafka, settings.buffer)
    try:
        await asyncio.gather(*(workers.start(number) for number in range(WORKERS)))
        async with steady_load(settings.kafka, settings.relay.shards, f"{store}-", per_s) as load:
            await asyncio.sleep(max(WARM_UP_S, USERS * WINDOW_RECORDS / per_s))
            lost = await measure_kill(workers, load, store)
            _show_lost(lost)
            figures.lost += lost
            if restarts:
                await workers.start(0)
                await measure_restart(workers, load, figures)
            await load.rest(TIMEOUT_S)
        await asyncio.sleep(QUIET_S)
        for number in workers.running:
            figures.idle_stop_s.append(round(await workers.stop(number), 2))
            await asyncio.sleep(QUIET_S)
    finally:
        await workers.kill_all()


async def measure_kill(workers: "Workers", load: SteadyLoad, store: str) -> list[Lost]:
    """Of the buffer, of extraction, and of the relay."""
    topics = Topics(workers.settings.kafka.topic_prefix)
    stages = {
        "buffer": (topics.buffer_group, topics.chat_messages),
        "extraction": (topics.extraction_group, topics.extraction_windows),
    }
    before = {work: await load.members(*stage) for work, stage in stages.items()}
    pieces = {"relay": {shard: load.seen.shard_changes[shard] for shard in await workers.shards_of(0)}}
    killed_s = time.perf_counter()
    await workers.kill(0)
    await asyncio.sleep(WATCHED_S)
    for work, stage in stages.items():
        after = await load.members(*stage)
        partitions = [number for member in before[work].keys() - after.keys() for number in before[work][member]]
        pieces[work] = {number: load.seen.moves[stage[0], number] for number in partitions}
    watched_s = time.perf_counter()
    # By then each has gone on, if it ever does.
    async with asyncio.timeout(TIMEOUT_S):
        while not all(times and times[-1] > watched_s for of_work in pieces.values() for times in of_work.values()):
            await asyncio.sleep(POLL_S)
    return [_lost(store, work, pieces[work], killed_s) for work in (*stages, "relay")]


async def measure_restart(workers: "Workers", load: SteadyLoad, figures: Figures) -> None:
    """Each worker is told to stop, waited for and started, the next once this one is ready; and no restart before."""
    await asyncio.sleep(WARM_UP_S)
    begin_s = time.perf_counter()
    await asyncio.sleep(WARM_UP_S)
    restart_s = time.perf_counter()
    for number in range(WORKERS):
        figures.stop_s.append(round(await workers.stop(number), 2))
        figures.ready_s.append(round(await workers.start(number), 2))
    end_s = time.perf_counter()
    await load.rest(TIMEOUT_S)
    await asyncio.sleep(QUIET_S)
    done = {
        "record to commit": load.seen.committed_s(Topics(workers.settings.kafka.topic_prefix).buffer_group),
        "window to change": load.seen.changed_s,
    }
    for name, since_s, until_s in (("before", begin_s, restart_s), ("rolling restart", restart_s, end_s)):
        for what, done_s in done.items():
            delays = load.seen.delays_s(done_s, since_s, until_s)
            figures.delays.append(
                Delays(
                    name,
                    what,
                    len(delays),
                    round(percentile(delays, 0.5), 3),
                    round(percentile(delays, 0.99), 3),
                    round(max(delays), 3),
                )
            )


class Workers:
    """Places for workers, by number; each has a port for probes and a folder of its own."""

    def __init__(self, addresses: EmbeddedAddresses, folder: Path, store: str) -> None:
        self._addresses = addresses
        self._folder = folder
        self._store = store
        self._ports = [free_port() for _ in range(WORKERS)]
        self._processes: dict[int, asyncio.subprocess.Process] = {}
        self.settings = Settings.model_validate(self._configured(0))

    @property
    def running(self) -> list[int]:
        return sorted(self._processes)

    async def start(self, number: int) -> float:
        """Returns after how many seconds it is ready: it has joined its groups, and loaded what it was given."""
        begin_s = time.perf_counter()
        process = self._processes[number] = await start_worker(self._configured(number), sorted(ROLES))
        async with asyncio.timeout(TIMEOUT_S), httpx2.AsyncClient() as client:
            while not await _is_ready(client, f"http://127.0.0.1:{self._ports[number]}/readyz"):
                if process.returncode is not None:
                    raise RuntimeError(f"a worker has ended by itself with {process.returncode}")
                await asyncio.sleep(POLL_S)
        return time.perf_counter() - begin_s

    async def stop(self, number: int) -> float:
        """SIGTERM; returns after how many seconds the process had ended."""
        begin_s = time.perf_counter()
        process = self._processes.pop(number)
        process.terminate()
        async with asyncio.timeout(TIMEOUT_S):
            await process.wait()
        return time.perf_counter() - begin_s

    async def kill(self, number: int) -> None:
        process = self._processes.pop(number)
        process.kill()
        await process.wait()

    async def kill_all(self) -> None:
        for number in self.running:
            await self.kill(number)

    async def shards_of(self, number: int) -> list[int]:
        """Those that this worker's relay publishes; the owner of a lease begins with host and process."""
        engine = create_engine(self.settings.storage)
        owner = f"{socket.gethostname()}-{self._processes[number].pid}-"
        query = select(relay_leases.c.shard).where(relay_leases.c.owner.startswith(owner, autoescape=True))
        try:
            async with engine.connect() as connection:
                return sorted((await connection.execute(query)).scalars())
        finally:
            await engine.dispose()

    def _configured(self, number: int) -> dict[str, Any]:
        return configuration(
            kafka={"bootstrap_servers": self._addresses.bootstrap_servers, "topic_prefix": f"{self._store}-"},
            storage={"database_url": self._addresses.database_url},
            buffer={
                "store": self._store,
                "tokenizer": "estimate",
                "data_dir": str(self._folder / f"{self._store}-{number}"),
            },
            worker={"health_port": self._ports[number]},
        )


def _lost(store: str, work: str, times_s: Mapping[int, Sequence[float]], killed_s: float) -> Lost:
    if not times_s:
        raise RuntimeError(f"the killed worker had nothing of {work}")
    longest_s = max(resumed_after_s(times, killed_s) for times in times_s.values())
    return Lost(store, work, len(times_s), round(longest_s, 2))


async def _is_ready(client: httpx2.AsyncClient, url: str) -> bool:
    with contextlib.suppress(httpx2.TransportError):
        return (await client.get(url)).status_code == httpx2.codes.OK
    return False


def _show_lost(lost: Iterable[Lost]) -> None:
    for item in lost:
        print(
            f"killed, {item.store:8}{item.work:12}{item.pieces:>3} of its partitions or shards went on after "
            f"{item.longest_s:.1f} s at most",
            flush=True,
        )


def _show_restart(figures: Figures) -> None:
    print(f"\n{'':18}{'':20}{'count':>8}{'p50 s':>9}{'p99 s':>9}{'most s':>9}")
    for item in figures.delays:
        print(f"{item.name:18}{item.what:20}{item.count:>8}{item.p50_s:>9.3f}{item.p99_s:>9.3f}{item.most_s:>9.3f}")
    for name, seconds in (
        ("stopped under load after", figures.stop_s),
        ("ready after", figures.ready_s),
        ("stopped idle after", figures.idle_stop_s),
    ):
        print(f"{name}: {', '.join(f'{item:.1f} s' for item in seconds)}")


if __name__ == "__main__":
    sys.exit(main())
