"""`python -m benchmarks`: measures the buffer stage on an embedded broker and writes benchmarks/out/buffer.json."""

import argparse
import logging
import os
import platform
import tempfile
from collections.abc import Sequence
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path
from typing import Any, Final

import orjson
import uvloop

from benchmarks.buffer_stage import Measurement, fill, measure_buffer, measure_idle_agent, measure_poll
from benchmarks.conversations import conversations
from embedded import EmbeddedKafka
from embedded.jars import KAFKA_VERSION
from schemas.settings import BufferSettings, KafkaSettings

RESULTS_FILE: Final = Path(__file__).with_name("out") / "buffer.json"
PACKAGES: Final = ("aiokafka", "faust-streaming", "orjson", "pydantic", "rocksdict", "uvloop")


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__)
    parser.add_argument("--records", type=int, default=40_000)
    parser.add_argument("--users", type=int, default=500)
    parser.add_argument("--partitions", type=int, default=4)
    parser.add_argument("--tokenizer", choices=["estimate", "tiktoken"], default="estimate")
    options = parser.parse_args()
    # Faust and aiokafka tell of every rebalance and of a coordinator that is not up yet.
    logging.disable(logging.ERROR)
    document = uvloop.run(_measure_all(options))
    RESULTS_FILE.parent.mkdir(exist_ok=True)
    RESULTS_FILE.write_bytes(orjson.dumps(document, option=orjson.OPT_INDENT_2))
    print(f"\nwritten to {RESULTS_FILE}")


async def _measure_all(options: argparse.Namespace) -> dict[str, Any]:
    with tempfile.TemporaryDirectory() as folder:
        broker = EmbeddedKafka(Path(folder) / "broker", progress=print)
        await broker.start()
        try:
            return await _measure(broker.bootstrap_servers, Path(folder) / "data", options)
        finally:
            await broker.stop()


async def _measure(bootstrap_servers: str, data_dir: Path, options: argparse.Namespace) -> dict[str, Any]:
    buffer = BufferSettings(tokenizer=options.tokenizer, data_dir=data_dir)

    def installation(name: str) -> KafkaSettings:
        return KafkaSettings(
            bootstrap_servers=bootstrap_servers, topic_prefix=f"{name}-", partitions=options.partitions
        )

    records = list(conversations(options.records, options.users))
    machine = _machine()
    print(", ".join(f"{name} {value}" for name, value in machine.items()))
    record_bytes = sum(len(value) for _, value in records) / len(records)
    print(
        f"{len(records):,} records of {record_bytes:.0f} bytes, {options.users} users, {options.partitions} partitions"
    )
    for name in ("memory", "rocksdb"):
        await fill(installation(name), buffer, records)
    # The first of everything pays for imports, the broker's first group and its first transaction.
    some = await fill(installation("warm-up"), buffer, records[:5000])
    await measure_idle_agent(installation("warm-up"), some)
    await measure_buffer(installation("warm-up"), buffer, some, "memory")
    results = [
        await measure_poll(installation("memory"), len(records)),
        await measure_idle_agent(installation("memory"), len(records)),
        await measure_buffer(installation("memory"), buffer, len(records), "memory"),
        await measure_buffer(installation("rocksdb"), buffer, len(records), "rocksdb"),
    ]
    _show(results)
    return {
        "benchmark": "buffer",
        "measured_at": datetime.now(UTC).isoformat(timespec="seconds"),
        "machine": machine,
        "records": len(records),
        "record_bytes": round(record_bytes),
        "users": options.users,
        "partitions": options.partitions,
        "tokenizer": options.tokenizer,
        "transaction_max_records": buffer.transaction_max_records,
        "results": [
            {
                "name": item.name,
                "seconds": round(item.seconds, 3),
                "records_per_s": round(item.records_per_s),
                "transactions": item.transactions,
            }
            for item in results
        ],
    }


def _show(results: Sequence[Measurement]) -> None:
    poll, idle = results[0], results[1]
    print(f"\n{'':32}{'records/s':>12}{'of the poll':>14}{'of the agent':>14}{'transactions':>14}")
    for item in results:
        of_poll, of_idle = item.records_per_s / poll.records_per_s, item.records_per_s / idle.records_per_s
        print(
            f"{item.name:32}{item.records_per_s:>12,.0f}{of_poll:>14.1%}{of_idle:>14.1%}{item.transactions or '':>14}"
        )


def _machine() -> dict[str, str | int]:
    return {
        "cpus": os.cpu_count() or 0,
        "architecture": platform.machine(),
        "python": platform.python_version(),
        "kafka": KAFKA_VERSION,
        **{package: version(package) for package in PACKAGES},
    }


if __name__ == "__main__":
    main()
