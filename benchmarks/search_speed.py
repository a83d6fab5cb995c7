"""`python -m benchmarks.search_speed`: how long a search takes by rows of the user, and what half precision brings.
Writes benchmarks/out/search-speed.json."""

import argparse
import asyncio
import os
import platform
import random
import statistics
import sys
import tempfile
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Mapping, Sequence
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from functools import partial
from importlib.metadata import version
from pathlib import Path
from typing import Any, Final, get_args

import asyncpg
import numpy as np
import orjson
from numpy.typing import NDArray
from pgvector import HalfVector, Vector
from pydantic import SecretStr
from sqlalchemy.engine import make_url

from benchmarks.conversations import PLACES, SAID, THINGS
from embedded import EmbeddedPostgres
from schemas.settings import StorageSettings
from storage.database import create_engine
from storage.migrate import migrate
from storage.search import Mode, Search, search

RESULTS_FILE: Final = Path(__file__).with_name("out") / "search-speed.json"
DIMENSION: Final = 256
ROWS: Final = (200, 1_000, 5_000, 20_000)
DIMENSIONS: Final = (256, 768, 1536)
# Of one search by vectors of each type, all users together.
USERS: Final = 100
GISTS: Final = 200
SEED: Final = 7
PROJECT: Final = "bench"
NOW: Final = datetime(2026, 1, 1, tzinfo=UTC)
PACKAGES: Final = ("asyncpg", "pgvector", "sqlalchemy")


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.search_speed", description=__doc__)
    parser.add_argument("--rows", type=int, nargs="+", default=ROWS, help="of one user; a search for each")
    parser.add_argument("--repeats", type=int, default=30)
    options = parser.parse_args()
    document = asyncio.run(_measure(options.rows, options.repeats))
    RESULTS_FILE.parent.mkdir(exist_ok=True)
    RESULTS_FILE.write_bytes(orjson.dumps(document, option=orjson.OPT_INDENT_2))
    print(f"\nwritten to {RESULTS_FILE}")
    return 0


async def _measure(rows: Sequence[int], repeats: int) -> dict[str, Any]:
    async with _postgres() as url:
        await migrate(url, embedding_dimension=DIMENSION)
        print(f"load average {os.getloadavg()[0]:.1f}\n\nmilliseconds of a search, by rows of the user")
        searches = [await _by_rows(url, count, repeats) for count in rows]
        print(f"\nmilliseconds of a scan of {GISTS} rows by their vectors, and bytes of a row")
        types = [await _by_type(url, dimension, repeats) for dimension in DIMENSIONS]
    return {
        "benchmark": "search-speed",
        "measured_at": datetime.now(UTC).isoformat(timespec="seconds"),
        "machine": {
            "cpus": os.cpu_count() or 0,
            "architecture": platform.machine(),
            "python": platform.python_version(),
            **{package: version(package) for package in PACKAGES},
        },
        "load_average": round(os.getloadavg()[0], 2),
        "searches": searches,
        "types": types,
    }


async def _by_rows(url: str, rows: int, repeats: int) -> dict[str, Any]:
    """The median of each mode; the rows say what people say, their vectors are made up."""
    chance = random.Random(SEED)
    user_id = f"user-{rows}"
    vectors = unit_vectors(rows, DIMENSION)
    event_id = await _owner(url, user_id)
    records = [
        (event_id, number, PROJECT, user_id, _said(chance), NOW, NOW, HalfVector(vector).to_text())
        for number, vector in enumerate(vectors)
    ]
    connection = await asyncpg.connect(dsn=_dsn(url))
    try:
        await connection.executemany(
            "INSERT INTO gists (gist_id, event_id, number, project_id, user_id, text, occurred_at, recorded_at, "
            "embedding) VALUES (gen_random_uuid(), $1, $2, $3, $4, $5, $6, $7, $8)",
            records,
        )
        await connection.execute("VACUUM ANALYZE gists")
    finally:
        await connection.close()
    engine = create_engine(StorageSettings(database_url=SecretStr(url)))
    found: dict[str, Any] = {"rows": rows}
    try:
        async with engine.connect() as reader:
            for mode in get_args(Mode):
                await search(reader, PROJECT, user_id, _question(mode, chance, vectors))
                questions = [_question(mode, chance, vectors) for _ in range(repeats)]
                calls = (partial(search, reader, PROJECT, user_id, question) for question in questions)
                found[mode] = await _measured(calls)
    finally:
        await engine.dispose()
    print(f"{rows:>8,}  " + "  ".join(f"{mode} {_shown(found[mode])}" for mode in get_args(Mode)))
    return found


async def _by_type(url: str, dimension: int, repeats: int) -> dict[str, Any]:
    """A table of nothing but texts and vectors, read as a search reads it, as `vector` and as `halfvec`."""
    found: dict[str, Any] = {"dimension": dimension}
    connection = await asyncpg.connect(dsn=_dsn(url))
    try:
        for kind, text_of in (("vector", Vector), ("halfvec", HalfVector)):
            await connection.execute(
                f"CREATE TABLE scanned (user_number int, text text, embedding {kind}({dimension}));"
                "CREATE INDEX ON scanned (user_number)"
            )
            for _ in range(GISTS):
                vectors = unit_vectors(USERS, dimension)
                # Users in turn, as rows come in life.
                rows = [(number, "x" * 60, text_of(vector).to_text()) for number, vector in enumerate(vectors)]
                await connection.executemany("INSERT INTO scanned VALUES ($1, $2, $3)", rows)
            await connection.execute("VACUUM ANALYZE scanned")
            query = await connection.prepare(
                f"SELECT text FROM scanned WHERE user_number = $1 ORDER BY embedding <=> $2::{kind} LIMIT 10"
            )
            asked = text_of(unit_vectors(1, dimension)[0]).to_text()
            for number in range(USERS):
                await query.fetch(number, asked)
            chance = random.Random(SEED)
            numbers = [chance.randrange(USERS) for _ in range(10 * repeats)]
            found[kind] = await _measured(partial(query.fetch, number, asked) for number in numbers)
            size = await connection.fetchval("SELECT pg_table_size('scanned')")
            found[f"{kind}_row_bytes"] = round(size / USERS / GISTS)
            await connection.execute("DROP TABLE scanned")
    finally:
        await connection.close()
    words = (f"{kind} {_shown(found[kind])}, {found[f'{kind}_row_bytes']:,} bytes" for kind in ("vector", "halfvec"))
    print(f"{dimension:>8,}  " + "  ".join(words))
    return found


def _shown(taken: Mapping[str, float]) -> str:
    return f"{taken['best_ms']:.2f} (median {taken['median_ms']:.2f})"


def unit_vectors(count: int, dimension: int) -> NDArray[np.float32]:
    """(count, dimension) float32 of unit length, in directions that chance has made."""
    vectors = np.random.default_rng(SEED).normal(size=(count, dimension)).astype(np.float32)
    unit: NDArray[np.float32] = vectors / np.linalg.norm(vectors, axis=1, keepdims=True)
    return unit


async def _measured(calls: Iterable[Callable[[], Awaitable[object]]]) -> dict[str, float]:
    """The quickest call tells more than the usual one where a machine does other things, too."""
    taken = []
    for call in calls:
        begin = time.perf_counter()
        await call()
        taken.append(1000 * (time.perf_counter() - begin))
    return {"best_ms": round(min(taken), 2), "median_ms": round(statistics.median(taken), 2)}


def _question(mode: Mode, chance: random.Random, vectors: NDArray[np.float32]) -> Search:
    return Search(mode, _said(chance), vectors[chance.randrange(len(vectors))], 10, NOW, kinds=("gist",))


def _said(chance: random.Random) -> str:
    return chance.choice(SAID).format(place=chance.choice(PLACES), thing=chance.choice(THINGS))


async def _owner(url: str, user_id: str) -> Any:
    connection = await asyncpg.connect(dsn=_dsn(url))
    try:
        await connection.execute(
            "INSERT INTO users (project_id, user_id, created_at, updated_at) VALUES ($1, $2, $3, $3)",
            PROJECT,
            user_id,
            NOW,
        )
        return await connection.fetchval(
            "INSERT INTO events (event_id, project_id, user_id, tags, profile_delta, revision, occurred_at, "
            "recorded_at) VALUES (gen_random_uuid(), $1, $2, '[]', '[]', 1, $3, $3) RETURNING event_id",
            PROJECT,
            user_id,
            NOW,
        )
    finally:
        await connection.close()


def _dsn(url: str) -> str:
    return make_url(url).set(drivername="postgresql").render_as_string(hide_password=False)


@asynccontextmanager
async def _postgres() -> AsyncIterator[str]:
    with tempfile.TemporaryDirectory() as folder:
        server = EmbeddedPostgres(Path(folder), progress=print)
        await server.start()
        try:
            await server.create_database()
            yield server.database_url()
        finally:
            await server.stop()


if __name__ == "__main__":
    sys.exit(main())
