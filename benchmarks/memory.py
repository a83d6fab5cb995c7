"""`python -m benchmarks.memory`: whether a worker's memory stays flat under a steady load, while users come and go.

One worker of all roles in a process of its own, with a scripted model. Each user sends for a while, then another one
comes, so that whatever is kept of a user for ever would show. Writes benchmarks/out/memory.json.
"""

import argparse
import asyncio
import logging
import statistics
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import aiohttp
import orjson
import psutil
import uvloop
from prometheus_client.parser import text_string_to_metric_families

from benchmarks.conversations import conversations
from benchmarks.machine import MIB, WORKER_PACKAGES, machine, shown
from benchmarks.reports import write
from benchmarks.scripted_model import configuration
from benchmarks.worker_process import worker_processes
from embedded import embedded_services
from embedded.addresses import EmbeddedAddresses
from schemas.settings import Settings
from streams.clients import producer
from streams.topics import Topics, ensure_topics
from streams.worker import ROLES
from tests.support.ports import free_port

MINUTES: Final = 10.0
RATE: Final = 400.0
USERS: Final = 400
# Two windows and a bit of a third one, which is flushed when the user has gone.
RECORDS_OF_A_USER: Final = 60
FLUSH_AFTER_S: Final = 15.0
SAMPLE_S: Final = 2.0
SEND_S: Final = 0.1
# Of each record 44 bytes that nobody lets go of, at these rates.
MAX_SLOPE_MIB_PER_MIN: Final = 1.0
# What the stages do after the last record counts, too.
REST_S: Final = 2.0


@dataclass(frozen=True, slots=True)
class Sample:
    """The worker's resident memory at a time since the load began."""

    at_s: float
    rss_mib: float


@dataclass(frozen=True, slots=True)
class Run:
    """What was seen of the worker while records came."""

    records: int
    users: int
    seconds: float
    cpu_s: float
    llm_calls: float
    decided: float
    samples: list[Sample]


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.memory", description=__doc__)
    parser.add_argument("--minutes", type=float, default=MINUTES)
    parser.add_argument("--rate", type=float, default=RATE, help="records a second")
    parser.add_argument("--users", type=int, default=USERS, help="who send at a time")
    options = parser.parse_args()
    logging.disable(logging.ERROR)
    described = machine(WORKER_PACKAGES)
    print(shown(described))
    run = uvloop.run(_measure(options))
    document = document_of(run, options.minutes)
    _show(document)
    print(f"\nwritten to {write('memory', {'machine': described, 'rate': options.rate, **document})}")
    return 0 if document["is_flat"] else 1


def slope_mib_per_min(samples: Sequence[Sample]) -> float:
    """Of the line that fits the last two thirds of the time; before, caches fill and pools grow."""
    begin_s = samples[-1].at_s / 3
    late = [sample for sample in samples if sample.at_s >= begin_s]
    fit = statistics.linear_regression([sample.at_s / 60 for sample in late], [sample.rss_mib for sample in late])
    return fit.slope


def document_of(run: Run, minutes: float) -> dict[str, Any]:
    slope = slope_mib_per_min(run.samples)
    return {
        "minutes": minutes,
        "records": run.records,
        "users": run.users,
        "records_per_s": round(run.records / run.seconds, 1),
        "records_decided": round(run.decided),
        "rss_mib": {
            "least": round(min(sample.rss_mib for sample in run.samples), 1),
            "most": round(max(sample.rss_mib for sample in run.samples), 1),
            "last": round(run.samples[-1].rss_mib, 1),
        },
        "slope_mib_per_min": round(slope, 3),
        "max_slope_mib_per_min": MAX_SLOPE_MIB_PER_MIN,
        "is_flat": slope <= MAX_SLOPE_MIB_PER_MIN,
        "cpu_s_per_1000_records": round(1000 * run.cpu_s / run.records, 3),
        "llm_calls_per_1000_records": round(1000 * run.llm_calls / run.records, 1),
        "samples": [[round(sample.at_s, 1), round(sample.rss_mib, 1)] for sample in run.samples],
    }


def records_of(users: int) -> Iterator[tuple[bytes, bytes]]:
    """Keys and values for ever: so many users take turns, and each gives place to another after a while."""
    templates = [orjson.loads(value) for _, value in conversations(1000, 1)]
    number = 0
    while True:
        turn, place = divmod(number, users)
        # Not all at once.
        generation = (turn + place % RECORDS_OF_A_USER) // RECORDS_OF_A_USER
        user_id = f"user-{place}-{generation}"
        record = {**templates[number % len(templates)], "user_id": user_id, "id": f"memory-{number}"}
        # The time of sending counts, or the years of a template would close a window with each record.
        del record["created_at"]
        yield user_id.encode(), orjson.dumps(record)
        number += 1


async def _measure(options: argparse.Namespace) -> Run:
    with tempfile.TemporaryDirectory() as folder:
        async with embedded_services(Path(folder) / "data") as addresses:
            port = free_port()
            configured = _configured(addresses, port)
            settings = Settings.model_validate(configured)
            await ensure_topics(settings.kafka, settings.buffer)
            async with worker_processes(1, configured, sorted(ROLES), 0.0) as (worker,):
                return await _load(settings, worker.pid, port, options)


def _configured(addresses: EmbeddedAddresses, port: int) -> dict[str, Any]:
    return configuration(
        kafka={"bootstrap_servers": addresses.bootstrap_servers, "partitions": 4},
        storage={"database_url": addresses.database_url},
        buffer={"tokenizer": "estimate", "buffer_flush_interval_s": FLUSH_AFTER_S},
        worker={"health_port": port},
    )


async def _load(settings: Settings, pid: int, port: int, options: argparse.Namespace) -> Run:
    """Send at the rate that is asked for, and look at the worker meanwhile."""
    process, samples = psutil.Process(pid), list[Sample]()
    topic = Topics(settings.kafka.topic_prefix).chat_messages
    records, sent, next_sample_s = records_of(options.users), 0, 0.0
    before = await _scrape(port)
    cpu_before_s, begin = _cpu_s(process), time.monotonic()
    async with producer(settings.kafka) as client:
        while (at_s := time.monotonic() - begin) < options.minutes * 60:
            while sent < options.rate * at_s:
                key, value = next(records)
                await client.send(topic, value, key=key)
                sent += 1
            if at_s >= next_sample_s:
                samples.append(Sample(at_s, process.memory_info().rss / MIB))
                next_sample_s += SAMPLE_S
            await asyncio.sleep(SEND_S)
    seconds = time.monotonic() - begin
    await asyncio.sleep(REST_S)
    after, cpu_s = await _scrape(port), _cpu_s(process) - cpu_before_s
    return Run(
        records=sent,
        users=-(-sent // RECORDS_OF_A_USER),
        seconds=seconds,
        cpu_s=cpu_s,
        llm_calls=_grown("memostream_llm_calls_total", before, after),
        decided=_grown("memostream_records_total", before, after),
        samples=samples,
    )


async def _scrape(port: int) -> Mapping[str, float]:
    """The sum of each counter's series."""
    async with aiohttp.ClientSession() as session, session.get(f"http://127.0.0.1:{port}/metrics") as answer:
        page = await answer.text()
    sums: dict[str, float] = {}
    for family in text_string_to_metric_families(page):
        for sample in family.samples:
            sums[sample.name] = sums.get(sample.name, 0.0) + sample.value
    return sums


def _grown(name: str, before: Mapping[str, float], after: Mapping[str, float]) -> float:
    return after.get(name, 0.0) - before.get(name, 0.0)


def _cpu_s(process: psutil.Process) -> float:
    used = process.cpu_times()
    return float(used.user + used.system)


def _show(document: Mapping[str, Any]) -> None:
    rss = document["rss_mib"]
    print(f"\n{document['records']} records of {document['users']} users, {document['records_per_s']} a second")
    print(
        f"CPU {document['cpu_s_per_1000_records']} s and {document['llm_calls_per_1000_records']} model calls a 1,000"
    )
    print(f"RSS {rss['least']} to {rss['most']} MiB, {rss['last']} at the end")
    verdict = "flat" if document["is_flat"] else "GROWS"
    limit = document["max_slope_mib_per_min"]
    print(f"slope over the last two thirds: {document['slope_mib_per_min']} MiB/min (at most {limit}): {verdict}")


if __name__ == "__main__":
    sys.exit(main())
