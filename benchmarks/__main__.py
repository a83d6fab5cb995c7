"""`python -m benchmarks`: what each stage does with the same topic, beside a Kafka client and an idle Faust agent.

Runs an embedded broker and database, takes turns between the measurements, and writes benchmarks/out/bench.json.
"""

import argparse
import logging
import statistics
import tempfile
from collections.abc import Awaitable, Callable, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any, Final

import asyncpg
import uvloop
from sqlalchemy.engine import make_url

from benchmarks.buffer_stage import Measurement, measure_buffer, measure_idle_agent, measure_poll
from benchmarks.conversations import conversations
from benchmarks.installation import fill, rewind
from benchmarks.machine import machine, shown
from benchmarks.own_process import in_own_process
from benchmarks.reports import write
from benchmarks.whole_path import measure_whole_path, settings_of
from embedded import embedded_services
from embedded.addresses import EmbeddedAddresses
from schemas.settings import BufferSettings, KafkaSettings, Settings

WINDOW_TOKENS: Final = (1024, 8192)
PACKAGES: Final = ("aiokafka", "asyncpg", "faust-streaming", "orjson", "pydantic", "rocksdict", "uvloop")
TITLES: Final = {
    "raw_poll": "aiokafka poll and JSON",
    "faust_noop": "Faust agent that does nothing",
    "buffer_stage": "buffer stage, memory store",
    "buffer_stage_rocksdb": "buffer stage, RocksDB store",
    "whole_path_1024": "whole path, windows of 1,024 tokens",
    "whole_path_8192": "whole path, windows of 8,192 tokens",
}

Measure = Callable[[int], Awaitable[Measurement]]


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__)
    parser.add_argument("--records", type=int, default=50_000)
    parser.add_argument("--users", type=int, default=200)
    parser.add_argument("--partitions", type=int, default=4)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--tokenizer", choices=["estimate", "tiktoken"], default="estimate")
    options = parser.parse_args()
    logging.disable(logging.ERROR)
    document = uvloop.run(_measure_all(options))
    print(f"\nwritten to {write('bench', document)}")


async def _measure_all(options: argparse.Namespace) -> dict[str, Any]:
    described = machine(PACKAGES)
    print(shown(described))
    with tempfile.TemporaryDirectory() as folder:
        async with embedded_services(Path(folder) / "services") as addresses:
            installation = Installation(addresses, options)
            size_bytes = await installation.fill()
            record_bytes = size_bytes / options.records
            print(
                f"{options.records:,} records of {record_bytes:.0f} bytes, {options.users} users, "
                f"{options.partitions} partitions, tokens by {options.tokenizer}, medians of {options.rounds} rounds"
            )
            measures = _measures(installation, Path(folder))
            rounds = [await _round(number, measures) for number in range(options.rounds)]
    figures = {name: [measured[name] for measured in rounds] for name in measures}
    rates = {name: statistics.median(item.records_per_s for item in items) for name, items in figures.items()}
    ratios = {name: ratio_of(figures[name], figures["faust_noop"]) for name in figures}
    _show(figures, rates, ratios)
    return {
        "machine": described,
        **vars(options),
        "record_bytes": round(record_bytes),
        **{name: round(rate, 1) for name, rate in rates.items()},
        "of_faust_noop": {name: round(ratio, 3) for name, ratio in ratios.items()},
        "details": {name: details_of(items) for name, items in figures.items()},
    }


class Installation:
    """The one that all measurements find as if it were new, with the same records in `chat-messages`."""

    def __init__(self, addresses: EmbeddedAddresses, options: argparse.Namespace) -> None:
        self.records: int = options.records
        self.users: int = options.users
        self.kafka = KafkaSettings(bootstrap_servers=addresses.bootstrap_servers, partitions=options.partitions)
        self.buffer = BufferSettings(tokenizer=options.tokenizer)
        self._database_url = addresses.database_url

    async def fill(self) -> int:
        return await fill(self.kafka, self.buffer, conversations(self.records, self.users))

    async def rewind(self) -> None:
        await rewind(self.kafka, self.buffer)

    async def with_database(self, name: str, window_tokens: int) -> Settings:
        """Settings of all of it, with a database of its own."""
        connection = await asyncpg.connect(self._database_url.replace("+asyncpg", ""))
        await connection.execute(f"CREATE DATABASE {name}")
        await connection.close()
        url = make_url(self._database_url).set(database=name).render_as_string(hide_password=False)
        servers, partitions = self.kafka.bootstrap_servers, self.kafka.partitions
        return settings_of(servers, url, window_tokens, partitions=partitions, tokenizer=self.buffer.tokenizer)


def _measures(installation: Installation, folder: Path) -> Mapping[str, Measure]:
    """What is measured in each round, in this order."""
    kafka, buffer, records = installation.kafka, installation.buffer, installation.records

    async def poll(_: int) -> Measurement:
        return await in_own_process(partial(measure_poll, kafka, records))

    async def idle_agent(number: int) -> Measurement:
        return await in_own_process(partial(measure_idle_agent, kafka, records, f"idle-agent-{number}"))

    async def memory(_: int) -> Measurement:
        await installation.rewind()
        return await in_own_process(partial(measure_buffer, kafka, buffer, records))

    async def rocksdb(number: int) -> Measurement:
        await installation.rewind()
        stored = {"store": "rocksdb", "data_dir": folder / f"data-{number}"}
        return await in_own_process(partial(measure_buffer, kafka, buffer.model_copy(update=stored), records))

    async def whole_path(number: int, window_tokens: int) -> Measurement:
        await installation.rewind()
        settings = await installation.with_database(f"whole_path_{window_tokens}_{number}", window_tokens)
        measured = await in_own_process(partial(measure_whole_path, settings, records, installation.users))
        calls = measured.completions + measured.embedding_calls
        return Measurement(records, measured.seconds, measured.cpu_s, measured.rss_mib, calls)

    return {
        "raw_poll": poll,
        "faust_noop": idle_agent,
        "buffer_stage": memory,
        "buffer_stage_rocksdb": rocksdb,
        **{f"whole_path_{tokens}": partial(whole_path, window_tokens=tokens) for tokens in WINDOW_TOKENS},
    }


async def _round(number: int, measures: Mapping[str, Measure]) -> Mapping[str, Measurement]:
    measured = {}
    for name, measure in measures.items():
        measured[name] = await measure(number)
        print(f"round {number + 1}: {TITLES[name]}, {measured[name].records_per_s:,.0f} records/s", flush=True)
    return measured


def ratio_of(items: Sequence[Measurement], idle: Sequence[Measurement]) -> float:
    """Median over the rounds: what the machine did beside one round it mostly did to all of it."""
    return statistics.median(a.records_per_s / b.records_per_s for a, b in zip(items, idle, strict=True))


def details_of(items: Sequence[Measurement]) -> dict[str, Any]:
    return {
        "records_per_s_of_rounds": [round(item.records_per_s, 1) for item in items],
        "cpu_s_per_1000_records": round(_per_1000(items, lambda item: item.cpu_s), 4),
        "rss_mib": round(statistics.median(item.rss_mib for item in items), 1),
        "llm_calls_per_1000_records": round(_per_1000(items, lambda item: item.llm_calls), 2),
    }


def _per_1000(items: Sequence[Measurement], of: Callable[[Measurement], float]) -> float:
    return statistics.median(1000 * of(item) / item.records for item in items)


def _show(
    figures: Mapping[str, Sequence[Measurement]], rates: Mapping[str, float], ratios: Mapping[str, float]
) -> None:
    heads = ("records/s", "of the agent", "CPU ms/1,000", "RSS MiB", "LLM calls/1,000")
    print(f"\n{'':34}" + "".join(f"{head:>17}" for head in heads))
    for name, items in figures.items():
        details = details_of(items)
        print(
            f"{TITLES[name]:34}{rates[name]:>17,.0f}{ratios[name]:>17.1%}"
            f"{1000 * details['cpu_s_per_1000_records']:>17.1f}{details['rss_mib']:>17.0f}"
            f"{details['llm_calls_per_1000_records']:>17.1f}"
        )


if __name__ == "__main__":
    main()
