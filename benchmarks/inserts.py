"""`python -m benchmarks.inserts`: inserts over many connections, then the same while the broker restarts.

Each call must have got an id, whose message is applied in the end, or errno 503. Anything else makes the exit code 1.
Broker, database, worker and gateway run as they do for users, each in a process of its own; this one makes the load.
Writes benchmarks/out/inserts.json.
"""

import argparse
import asyncio
import contextlib
import logging
import os
import platform
import socket
import sys
import tempfile
from collections import Counter
from collections.abc import AsyncIterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path
from typing import Any, Final

import aiohttp
import orjson
import uvloop

from benchmarks.insert_load import Run, inserter, inserts_of
from embedded import EmbeddedKafka, EmbeddedPostgres
from embedded.jars import KAFKA_VERSION
from embedded.process import log_tail

RESULTS_FILE: Final = Path(__file__).with_name("out") / "inserts.json"
PACKAGES: Final = ("aiohttp", "aiokafka", "fastapi", "uvicorn", "uvloop")
TOKEN: Final = "root-of-the-benchmark"
START_S: Final = 120.0
POLL_S: Final = 0.2
FLUSH_S: Final = 600
# Its own contract's measurements, on a machine of two cores with a model that answers at once.
MEMOBASE_PER_S: Final = 77
MEMOBASE_FAILED: Final = "1,137 of 1,500 calls failed at 128 connections"


@dataclass(frozen=True, slots=True)
class Judged:
    """A run, and where the blobs that were given an id stand in the end."""

    name: str
    run: Run
    states: Mapping[str, int]

    @property
    def is_kept(self) -> bool:
        """Whether every call was given what was promised."""
        return not self.run.of("failed") and self.states == Counter(applied=len(self.run.of("stored")))


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.inserts", description=__doc__)
    parser.add_argument("--inserts", type=int, default=1000, help="calls of each run")
    parser.add_argument("--connections", type=int, default=256)
    parser.add_argument("--users", type=int, default=200)
    parser.add_argument("--away-s", type=float, default=6.0, help="how long the broker stays away in the second run")
    options = parser.parse_args()
    # aiokafka tells of every try at a broker that is away.
    logging.disable(logging.ERROR)
    judged, written_after_all = uvloop.run(_measure(options))
    RESULTS_FILE.parent.mkdir(exist_ok=True)
    document = _document(options, judged, written_after_all)
    RESULTS_FILE.write_bytes(orjson.dumps(document, option=orjson.OPT_INDENT_2))
    _show(judged, written_after_all)
    print(f"\nwritten to {RESULTS_FILE}")
    sys.exit(0 if all(one.is_kept for one in judged) else 1)


async def _measure(options: argparse.Namespace) -> tuple[list[Judged], int]:
    """The runs, and how many records were written although their callers were refused."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        broker = EmbeddedKafka(folder / "broker", progress=print)
        postgres = EmbeddedPostgres(folder / "database", progress=print)
        async with contextlib.AsyncExitStack() as stack:
            for service in (broker, postgres):
                await service.start()
                stack.push_async_callback(service.stop)
            port = _free_port()
            url = f"http://127.0.0.1:{port}"
            environment = _environment(broker, postgres, port)
            for command in ("worker", "api"):
                await stack.enter_async_context(_running(command, environment, folder))
            await _until_ready(url)
            load = await stack.enter_async_context(inserter(url, TOKEN, options.connections))
            # Connections to Postgres and Kafka, and code that runs for the first time.
            warm_up = await load.insert(inserts_of(options.connections, options.users, 1))
            print(f"{options.inserts:,} inserts over {options.connections} connections")
            steady = await load.insert(inserts_of(options.inserts, options.users, 2))
            print("the same while the broker restarts")

            async def restart() -> None:
                await broker.stop()
                await asyncio.sleep(options.away_s)
                await broker.start()

            restarted = await load.insert_during(restart(), inserts_of(options.inserts, options.users, 3))
            print("flushing, and looking at what became of each")
            await _command(environment, folder, "flush", "--all", "--timeout-s", str(FLUSH_S))
            judged = [
                Judged(name, run, Counter(await load.states(run.of("stored"))))
                for name, run in (("steady", steady), ("broker restarted", restarted))
            ]
            audit = orjson.loads(await _command(environment, folder, "audit", "--json"))
            blobs = sum(count for outcome, count in audit["counts"].items() if outcome != "command")
            answered = sum(len(run.of("stored")) for run in (warm_up, steady, restarted))
            return judged, blobs - answered


def _environment(broker: EmbeddedKafka, postgres: EmbeddedPostgres, port: int) -> dict[str, str]:
    inherited = {name: value for name, value in os.environ.items() if not name.startswith("MEMOSTREAM_")}
    return {
        **inherited,
        "MEMOSTREAM_KAFKA__BOOTSTRAP_SERVERS": broker.bootstrap_servers,
        "MEMOSTREAM_STORAGE__DATABASE_URL": postgres.database_url("postgres"),
        "MEMOSTREAM_API__PORT": str(port),
        "MEMOSTREAM_API__ROOT_TOKEN": TOKEN,
        "MEMOSTREAM_WORKER__LOG_LEVEL": "warning",
    }


@contextlib.asynccontextmanager
async def _running(command: str, environment: Mapping[str, str], folder: Path) -> AsyncIterator[None]:
    """A `memostream` command beside the block; what it says stands in a file of its name."""
    with (folder / f"{command}.log").open("wb") as log:
        process = await asyncio.create_subprocess_exec(
            sys.executable, "-m", "cli.main", command, env=environment, cwd=folder, stdout=log, stderr=log
        )
        try:
            yield
        except BaseException:
            # The folder goes with the benchmark.
            print(f"memostream {command}, exit code {process.returncode}: {log_tail(Path(log.name))}")
            raise
        finally:
            if process.returncode is None:
                process.terminate()
            await process.wait()


async def _until_ready(url: str) -> None:
    async with asyncio.timeout(START_S), aiohttp.ClientSession(url) as session:
        while True:
            with contextlib.suppress(aiohttp.ClientError):
                async with session.get("/readyz") as reply:
                    # Ready to read is ready without a broker; here it must say that nothing is amiss.
                    if reply.status == 200 and not (await reply.json()).get("reasons"):
                        return
            await asyncio.sleep(POLL_S)


async def _command(environment: Mapping[str, str], folder: Path, *arguments: str) -> bytes:
    """What a `memostream` command prints; raises RuntimeError if it fails."""
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "cli.main", *arguments, env=environment, cwd=folder, stdout=asyncio.subprocess.PIPE
    )
    printed, _ = await process.communicate()
    if process.returncode:
        raise RuntimeError(f"memostream {arguments[0]} failed")
    return printed


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def _document(options: argparse.Namespace, judged: Sequence[Judged], written_after_all: int) -> dict[str, Any]:
    return {
        "benchmark": "inserts",
        "measured_at": datetime.now(UTC).isoformat(timespec="seconds"),
        "machine": {
            "cpus": os.cpu_count() or 0,
            "architecture": platform.machine(),
            "python": platform.python_version(),
            "kafka": KAFKA_VERSION,
            **{package: version(package) for package in PACKAGES},
        },
        "inserts": options.inserts,
        "connections": options.connections,
        "users": options.users,
        "broker_away_s": options.away_s,
        "refused_but_written": written_after_all,
        "memobase": {"inserts_per_s": MEMOBASE_PER_S, "failures": MEMOBASE_FAILED},
        "results": [
            {
                "name": one.name,
                "seconds": round(one.run.seconds, 3),
                "stored": len(one.run.of("stored")),
                "refused": len(one.run.of("refused")),
                "failed": Counter(answer.why for answer in one.run.of("failed")),
                "stored_per_s": round(one.run.stored_per_s, 1),
                "p50_ms": round(one.run.quantile_ms(0.5), 1),
                "p95_ms": round(one.run.quantile_ms(0.95), 1),
                "states": one.states,
                "is_kept": one.is_kept,
            }
            for one in judged
        ],
    }


def _show(judged: Sequence[Judged], written_after_all: int) -> None:
    columns = ("ids", "503", "else", "applied", "ids/s", "p50 ms", "p95 ms")
    print(f"\n{'':24}" + "".join(f"{column:>10}" for column in columns))
    for one in judged:
        run = one.run
        cells = (
            f"{len(run.of('stored')):,}",
            f"{len(run.of('refused')):,}",
            f"{len(run.of('failed')):,}",
            f"{one.states.get('applied', 0):,}",
            f"{run.stored_per_s:,.0f}",
            f"{run.quantile_ms(0.5):,.0f}",
            f"{run.quantile_ms(0.95):,.0f}",
        )
        print(f"{one.name:24}" + "".join(f"{cell:>10}" for cell in cells))
        for why, count in Counter(answer.why for answer in run.of("failed")).most_common():
            print(f"  {count:,} failed: {why}")
    print(f"of those with 503, {written_after_all:,} were written after all")
    print(f"{'Memobase, without extraction':48}{'':16}{MEMOBASE_PER_S:>10}")
    print(f"  {MEMOBASE_FAILED}")


if __name__ == "__main__":
    main()
