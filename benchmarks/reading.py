"""`python -m benchmarks.reading`: requests a second of profile, context and search, into benchmarks/out/reading.json.

An embedded Postgres, one gateway process, and the questions asked by a third process. The database is filled first, as
far as that goes in `--load-minutes`; `--data DIR` keeps it for the next time.
"""

import argparse
import asyncio
import os
import platform
import random
import socket
import statistics
import sys
import tempfile
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path
from typing import Any, Final
from urllib.parse import quote, urlencode

import numpy as np
import orjson
import psutil
import uvloop

from benchmarks.http_load import Load, Timed
from benchmarks.loading import Language, Loaded, Size, load, user_id
from benchmarks.reading_plans import plans
from embedded import EmbeddedPostgres
from storage.migrate import migrate

RESULTS_FILE: Final = Path(__file__).with_name("out") / "reading.json"
PACKAGES: Final = ("asyncpg", "fastapi", "orjson", "pydantic", "sqlalchemy", "starlette", "uvicorn", "uvloop")
# A quarter of what a small server has; all else is as Postgres comes.
POSTGRES_SETTINGS: Final = {"shared_buffers": "1GB", "max_wal_size": "4GB"}
QUESTIONS: Final = 2_000
PATHS: Final = 20_000
SEED: Final = 1
TOKEN: Final = "benchmark"
# Memobase's server on two cores with a small database; its profile comes from a Redis cache.
MEMOBASE: Final = {"profile": 560, "context": 31}
GOALS: Final = {"profile": 800, "context": 500, "search": 200}
LOADED_FILE: Final = "loaded.json"
# Of a plan, what is printed; the file holds all of it.
PLAN_WORDS: Final = ("Index Scan", "Seq Scan", "Bitmap", "Execution Time")


@dataclass(frozen=True, slots=True)
class Round:
    """One kind of request for some seconds. `gateway_cpu_ms` is the gateway's time for one request."""

    name: str
    requests_per_s: float
    p50_ms: float
    p95_ms: float
    p99_ms: float
    failures: int
    answer_bytes: int
    gateway_cpu_ms: float
    generator_cpu_share: float
    load_average: float


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.reading", description=__doc__)
    parser.add_argument("--users", type=int, default=10_000)
    parser.add_argument("--facts", type=int, default=50, help="of a user")
    parser.add_argument("--gists", type=int, default=200, help="of a user")
    parser.add_argument("--dimension", type=int, default=256)
    parser.add_argument("--load-minutes", type=float, default=15.0)
    parser.add_argument("--seconds", type=float, default=10.0, help="of one kind of request, in each round")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--concurrency", type=int, default=8)
    parser.add_argument("--data", type=Path, help="a folder that keeps the database; filled once")
    options = parser.parse_args()
    document = uvloop.run(_measure_all(options))
    RESULTS_FILE.parent.mkdir(exist_ok=True)
    RESULTS_FILE.write_bytes(orjson.dumps(document, option=orjson.OPT_INDENT_2))
    print(f"\nwritten to {RESULTS_FILE}")


async def _measure_all(options: argparse.Namespace) -> dict[str, Any]:
    with tempfile.TemporaryDirectory(prefix="memostream-bench-") as temporary:
        folder: Path = options.data or Path(temporary)
        postgres = EmbeddedPostgres(folder / "postgres", settings=POSTGRES_SETTINGS, progress=print)
        await postgres.start()
        try:
            await postgres.create_database()
            return await _measure(postgres.database_url(), folder, options)
        finally:
            await postgres.stop()


async def _measure(database_url: str, folder: Path, options: argparse.Namespace) -> dict[str, Any]:
    size = Size(options.users, options.facts, options.gists, options.dimension)
    language = Language(size.dimension, SEED)
    texts, vectors = language.questions(QUESTIONS)
    questions_file = folder / "questions.npz"
    np.savez(questions_file, texts=np.array(texts), vectors=vectors)
    machine = _machine()
    print(", ".join(f"{name} {value}" for name, value in machine.items()))
    loaded = await _loaded(database_url, folder, size, language, options.load_minutes * 60)
    if not loaded.users:
        raise SystemExit("nothing was loaded in that time: allow more --load-minutes")
    settings = _settings_document(database_url, size.dimension)
    chance = random.Random(SEED)
    users = [user_id(chance.randrange(loaded.users)) for _ in range(PATHS)]
    loads = {name: _paths(name, users, texts, chance) for name in ("select 1", "profile", "context", "search")}
    async with _gateway(settings, questions_file) as process:
        rounds = [
            await _round(name, process, settings, paths, options)
            for _ in range(options.rounds)
            for name, paths in loads.items()
        ]
    results = [_middle([item for item in rounds if item.name == name]) for name in loads]
    _show(results, options)
    found_plans = await plans(database_url, users[0], texts[0], vectors[0])
    for name, plan in found_plans.items():
        print(f"\n{name}")
        for line in plan.splitlines():
            if any(word in line for word in PLAN_WORDS):
                print(f"  {line.strip()}")
    return {
        "benchmark": "reading",
        "measured_at": datetime.now(UTC).isoformat(timespec="seconds"),
        "machine": machine,
        "size": asdict(size),
        "users_loaded": loaded.users,
        "load_seconds": round(loaded.seconds, 1),
        "postgres_settings": POSTGRES_SETTINGS,
        "concurrency": options.concurrency,
        "results": [asdict(item) for item in results],
        "rounds": [asdict(item) for item in rounds],
        "memobase_requests_per_s": MEMOBASE,
        "goals_requests_per_s": GOALS,
        "plans": found_plans,
    }


async def _loaded(database_url: str, folder: Path, size: Size, language: Language, limit_s: float) -> Loaded:
    marker = folder / LOADED_FILE
    if marker.exists():
        known = orjson.loads(marker.read_bytes())
        if known["size"] != asdict(size):
            raise SystemExit(f"{folder} holds a database of another size; take another folder")
        return Loaded(**known["loaded"])
    await migrate(database_url, embedding_dimension=size.dimension)

    def tell(users: int, seconds: float) -> None:
        if users % 1000 == 0 or users == size.users:
            print(f"{users:,} of {size.users:,} users after {seconds:.0f} s", flush=True)

    loaded = await load(database_url, size, language, limit_s, tell)
    print(
        f"loaded {loaded.users:,} of {size.users:,} users of {size.facts} facts and {size.gists} gists, "
        f"dimension {size.dimension}, in {loaded.seconds:.0f} s"
    )
    marker.write_bytes(orjson.dumps({"size": asdict(size), "loaded": asdict(loaded)}))
    return loaded


def _settings_document(database_url: str, dimension: int) -> dict[str, Any]:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    return {
        "storage": {"database_url": database_url},
        # Nothing listens there: reading needs no broker.
        "kafka": {"bootstrap_servers": "127.0.0.1:1"},
        "extraction": {"provider": "offline"},
        "embedding": {"dimension": dimension},
        "buffer": {"tokenizer": "estimate"},
        "api": {"host": "127.0.0.1", "port": port, "root_token": TOKEN},
    }


def _paths(name: str, users: Sequence[str], questions: Sequence[str], chance: random.Random) -> list[str]:
    if name == "select 1":
        return ["/api/v1/select-1"]
    if name == "search":
        return [f"/api/v1/users/search/{user}?query={quote(chance.choice(questions))}&topk=10" for user in users]
    # As Memobase's SDK asks for a context; the profile whole.
    query = f"?{urlencode({'max_token_size': 1000})}" if name == "context" else ""
    return [f"/api/v1/users/{name}/{user}{query}" for user in users]


@asynccontextmanager
async def _gateway(settings: dict[str, Any], questions_file: Path) -> AsyncIterator[psutil.Process]:
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        "-m",
        "benchmarks.reading_gateway",
        orjson.dumps(settings).decode(),
        str(questions_file),
        stdout=asyncio.subprocess.PIPE,
    )
    try:
        if process.stdout is None or not await process.stdout.readline():
            raise SystemExit("the gateway did not start")
        yield psutil.Process(process.pid)
    finally:
        if process.returncode is None:
            process.terminate()
        await process.wait()


async def _round(
    name: str, gateway: psutil.Process, settings: dict[str, Any], paths: Sequence[str], options: argparse.Namespace
) -> Round:
    load_ = Load(settings["api"]["host"], settings["api"]["port"], TOKEN, paths, options.concurrency, options.seconds)
    before = sum(gateway.cpu_times()[:2])
    generator = await asyncio.create_subprocess_exec(
        sys.executable,
        "-m",
        "benchmarks.http_load",
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
    )
    answer, _ = await generator.communicate(orjson.dumps(asdict(load_)))
    if generator.returncode:
        raise SystemExit("the load generator failed")
    timed = Timed(**orjson.loads(answer))
    count = len(timed.latencies_ms)
    percentiles = statistics.quantiles(timed.latencies_ms, n=100)
    cpu_seconds = sum(gateway.cpu_times()[:2]) - before
    return Round(
        name=name,
        requests_per_s=round(count / timed.seconds, 1),
        p50_ms=round(percentiles[49], 2),
        p95_ms=round(percentiles[94], 2),
        p99_ms=round(percentiles[98], 2),
        failures=timed.failures,
        answer_bytes=round(timed.answer_bytes / count),
        gateway_cpu_ms=round(cpu_seconds / (count + load_.warm_up) * 1000, 3),
        generator_cpu_share=round(timed.cpu_seconds / timed.seconds, 3),
        load_average=round(os.getloadavg()[0], 2),
    )


def _middle(rounds: Sequence[Round]) -> Round:
    """The round with the median rate."""
    return sorted(rounds, key=lambda item: item.requests_per_s)[(len(rounds) - 1) // 2]


def _show(results: Sequence[Round], options: argparse.Namespace) -> None:
    print(
        f"\nconcurrency {options.concurrency}, the middle one of {options.rounds} rounds of {options.seconds:g} s\n"
        f"{'':10}{'requests/s':>12}{'goal':>7}{'Memobase':>10}{'p50 ms':>9}{'p95 ms':>9}{'p99 ms':>9}"
        f"{'failed':>8}{'bytes':>8}{'gateway CPU ms':>16}{'load':>7}"
    )
    for item in results:
        print(
            f"{item.name:10}{item.requests_per_s:>12,.0f}{GOALS.get(item.name, ''):>7}{MEMOBASE.get(item.name, ''):>10}"
            f"{item.p50_ms:>9.1f}{item.p95_ms:>9.1f}{item.p99_ms:>9.1f}{item.failures:>8}{item.answer_bytes:>8,}"
            f"{item.gateway_cpu_ms:>16.2f}{item.load_average:>7.1f}"
        )


def _machine() -> dict[str, str | int]:
    return {
        "cpus": os.cpu_count() or 0,
        "architecture": platform.machine(),
        "python": platform.python_version(),
        **{package: version(package) for package in PACKAGES},
    }


if __name__ == "__main__":
    main()
