"""`python -m benchmarks.growth`: that a record costs the same however much is buffered, and what a recovery takes.

Runs an embedded broker and writes benchmarks/out/growth.json. Exits with 1 if a limit is exceeded.
"""

import argparse
import asyncio
import logging
import statistics
import sys
import tempfile
import time
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from typing import Any, Final, Literal

import structlog
import uvloop
from aiokafka import TopicPartition

from benchmarks.buffer_stage import Measurement, measure_buffer
from benchmarks.conversations import conversations
from benchmarks.installation import fill, rewind, size_of
from benchmarks.machine import machine, shown
from benchmarks.own_process import in_own_process
from benchmarks.reports import write
from embedded import embedded_services
from schemas.errors import MemostreamError
from schemas.settings import BufferSettings, KafkaSettings
from schemas.tokens import estimate_tokens
from streams.buffer_ownership import BufferOwnerFactory
from streams.topics import Topics

PACKAGES: Final = ("aiokafka", "faust-streaming", "orjson", "pydantic", "rocksdict", "uvloop")
WINDOW_TOKENS: Final = (1024, 8192)
# So that windows of the larger size close, too: about 1,000 records a user.
USERS_OF_WINDOWS: Final = 30
ACTIVE_USERS: Final = 1000
# How much slower the larger of two may be, and how many times a record's bytes its changelog may have.
MAX_LOSS_BY_WINDOW: Final = 0.15
MAX_LOSS_BY_USERS: Final = 0.20
MAX_CHANGELOG_TIMES: Final = 3.0

Measure = Callable[[int], Awaitable[Measurement]]


@dataclass(frozen=True, slots=True)
class Limit:
    """A claim with the figure that it rests on."""

    claim: str
    figure: float
    limit: float

    @property
    def holds(self) -> bool:
        return self.figure <= self.limit


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.growth", description=__doc__)
    parser.add_argument("--records", type=int, default=30_000, help="of each measurement")
    parser.add_argument("--users", type=int, default=100_000, help="buffered, against 1,000")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--partitions", type=int, default=4)
    options = parser.parse_args()
    if options.users <= ACTIVE_USERS:
        parser.error(f"--users: must be more than {ACTIVE_USERS}")
    logging.disable(logging.ERROR)
    described = machine(PACKAGES)
    print(shown(described))
    figures, limits = uvloop.run(_measure_all(options))
    for limit in limits:
        print(f"{'holds' if limit.holds else 'FAILS':8}{limit.claim}: {limit.figure:.3f}, at most {limit.limit:.2f}")
    document = {
        "machine": described,
        **vars(options),
        **figures,
        "limits": [{**asdict(limit), "holds": limit.holds} for limit in limits],
    }
    print(f"\nwritten to {write('growth', document)}")
    return 0 if all(limit.holds for limit in limits) else 1


async def _measure_all(options: argparse.Namespace) -> tuple[dict[str, Any], list[Limit]]:
    with tempfile.TemporaryDirectory() as folder:
        async with embedded_services(Path(folder) / "services", postgres=False) as addresses:
            named = partial(KafkaSettings, bootstrap_servers=addresses.bootstrap_servers, partitions=options.partitions)
            by_window, window_limits = await _by_window(named(topic_prefix="windows-"), options)
            many = named(topic_prefix="many-")
            by_users, users_limit = await _by_users(
                {ACTIVE_USERS: named(topic_prefix="few-"), options.users: many}, options
            )
            recovery = {}
            for store in ("memory", "rocksdb"):
                buffer = BufferSettings(store=store, data_dir=Path(folder) / "data")
                recovery[store] = measured = await in_own_process(partial(measure_recovery, many, buffer))
                print(f"recovery of {options.users:,} users, {store}: {measured}", flush=True)
    return {"by_window_tokens": by_window, "by_users": by_users, "recovery_s": recovery}, [*window_limits, users_limit]


async def _by_window(kafka: KafkaSettings, options: argparse.Namespace) -> tuple[dict[str, Any], list[Limit]]:
    sent_bytes = await fill(kafka, BufferSettings(), conversations(options.records, USERS_OF_WINDOWS))
    changelog_bytes: dict[int, int] = {}

    async def with_windows(_: int, tokens: int) -> Measurement:
        buffer = BufferSettings(max_chat_blob_buffer_token_size=tokens)
        await rewind(kafka, buffer)
        measured = await in_own_process(partial(measure_buffer, kafka, buffer, options.records))
        changelog_bytes[tokens] = await size_of(kafka, Topics(kafka.topic_prefix).buffer_changelog)
        return measured

    measures = {tokens: partial(with_windows, tokens=tokens) for tokens in WINDOW_TOKENS}
    rates = await _in_turns("windows of {:,} tokens", measures, options.rounds)
    small, large = WINDOW_TOKENS
    times = {tokens: size_bytes / sent_bytes for tokens, size_bytes in changelog_bytes.items()}
    limits = [Limit("loss with windows of 8,192 tokens", _loss(rates[small], rates[large]), MAX_LOSS_BY_WINDOW)]
    limits += [
        Limit(f"changelog bytes by record bytes, {tokens:,} tokens", times[tokens], MAX_CHANGELOG_TIMES)
        for tokens in WINDOW_TOKENS
    ]
    return {"records_per_s": rates, "changelog_times": times}, limits


async def _by_users(
    installations: Mapping[int, KafkaSettings], options: argparse.Namespace
) -> tuple[dict[str, Any], Limit]:
    """Records of the same users while so many have something buffered, after a recovery of it."""
    buffer = BufferSettings()
    for users, kafka in installations.items():
        await fill(kafka, buffer, conversations(users, users))
        await in_own_process(partial(measure_buffer, kafka, buffer, users))

    async def with_users(number: int, users: int) -> Measurement:
        kafka = installations[users]
        turn = 1 + number * -(-options.records // ACTIVE_USERS)
        await fill(kafka, buffer, conversations(options.records, ACTIVE_USERS, first_turn=turn))
        return await in_own_process(partial(measure_buffer, kafka, buffer, options.records))

    measures = {users: partial(with_users, users=users) for users in installations}
    rates = await _in_turns("{:,} users buffered", measures, options.rounds)
    few, many = installations
    limit = Limit(f"loss with {many:,} users buffered", _loss(rates[few], rates[many]), MAX_LOSS_BY_USERS)
    return {"records_per_s": rates}, limit


async def _in_turns(title: str, measures: Mapping[int, Measure], rounds: int) -> dict[int, list[float]]:
    """Rates of each, measured in turns, so that what else the machine does meets all of them."""
    rates: dict[int, list[float]] = {name: [] for name in measures}
    for number in range(rounds):
        for name, measure in measures.items():
            rates[name].append(round((await measure(number)).records_per_s, 1))
            print(f"round {number + 1}: {title.format(name)}, {rates[name][-1]:,.0f} records/s", flush=True)
    return rates


def _loss(before: list[float], after: list[float]) -> float:
    """By how much the median of `after` is below that of `before`."""
    return 1 - statistics.median(after) / statistics.median(before)


async def measure_recovery(kafka: KafkaSettings, buffer: BufferSettings) -> dict[str, float]:
    """Seconds to own all partitions, without a local copy and with the one that is there then."""
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(logging.ERROR))
    factory = BufferOwnerFactory(kafka, buffer, kafka.partitions, estimate_tokens, _raise)
    names: tuple[Literal["without_copy", "with_copy"], ...] = ("without_copy", "with_copy")
    return {name: await _open_all(factory, kafka) for name in names}


async def _open_all(factory: BufferOwnerFactory, kafka: KafkaSettings) -> float:
    topic = Topics(kafka.topic_prefix).chat_messages
    places = [TopicPartition(topic, partition) for partition in range(kafka.partitions)]
    began_s = time.perf_counter()
    owners = [factory.new_owner(place, _lost) for place in places]
    await asyncio.gather(*(owner.open() for owner in owners))
    seconds = time.perf_counter() - began_s
    for owner in owners:
        owner.abandon()
        await owner.release_store()
        await owner.close()
    return round(seconds, 3)


def _lost(_: TopicPartition, error: MemostreamError) -> None:
    raise error


def _raise(error: BaseException) -> None:
    raise error


if __name__ == "__main__":
    sys.exit(main())
