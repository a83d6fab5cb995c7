"""One part of a run: sends records, does the faults in their turn, waits for progress after each, then for the end."""

import asyncio
import random
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Final

from sqlalchemy import func, select

from cli.flushing import Flush, flush_all
from schemas.errors import MemostreamError
from storage.database import create_engine
from storage.tables import outbox
from tests.chaos.arena import PARTITIONS, Arena, open_arena
from tests.chaos.checker import Verdict, check
from tests.chaos.faults import of_brokers
from tests.chaos.faults.acting import ACTS
from tests.chaos.faults.of_workers import NotReached
from tests.chaos.load import Load
from tests.chaos.producer import LoadProducer, Manifest
from tests.chaos.schedule import WAITING, Part, Step
from tests.chaos.truth import newest_facts, places_in_log, produced
from tests.chaos.workers import Ends

# Of a step's records, what is sent before its faults begin.
BEGIN_SHARE: Final = (0.1, 0.5)
# What two cores take beside the faults.
RECORDS_PER_S: Final = 400.0
RECOVERY_TIMEOUT_S: Final = 240.0
SETTLE_TIMEOUT_S: Final = 600.0
STARTED_POLL_S: Final = 0.2
START_TIMEOUT_S: Final = 240.0
CHECK_IDLE_S: Final = 900.0

Say = Callable[[str], None]


@dataclass(frozen=True, slots=True)
class Observed:
    """A fault that was done: how long after its end everything that had come by then was through."""

    kind: str
    recovery_s: float
    detail: str
    reached: bool = True


@dataclass
class PartResult:
    """Everything that the table tells of a part."""

    part: Part
    observed: list[Observed] = field(default_factory=list)
    ends: Ends = field(default_factory=Ends)
    records: int = 0
    retried: int = 0
    seconds: float = 0.0
    verdict: Verdict | None = None
    failure: str | None = None

    @property
    def is_clean(self) -> bool:
        """Also: no fault failed to be done, and no worker ended but by one."""
        return (
            self.verdict is not None
            and self.verdict.is_clean
            and all(one.reached for one in self.observed)
            and not self.ends.unexpected
        )


async def run_part(part: Part, folder: Path, seed: int, say: Say) -> PartResult:
    """What does not come to an end is in the result's `failure`, with what is left."""
    begun = time.monotonic()
    result = PartResult(part)
    try:
        await _attack(part, folder, seed, result, say)
    except (TimeoutError, MemostreamError) as error:
        result.failure = f"{type(error).__name__}: {error}"
    result.seconds = time.monotonic() - begun
    return result


async def _attack(part: Part, folder: Path, seed: int, result: PartResult, say: Say) -> None:
    async with open_arena(folder, brokers=part.brokers, workers=part.workers, seed=seed) as arena:
        result.ends = arena.workers.ends
        manifest = Manifest(folder / "manifest.jsonl")
        producer = LoadProducer(arena.settings.kafka, manifest)
        load = Load(random.Random(seed + 1), part.users, PARTITIONS, datetime.now(UTC))
        try:
            async with arena.workers.supervised():
                await _all_started(arena)
                try:
                    for step in part.steps:
                        await _run_step(step, arena, load, producer, result, say)
                    await of_brokers.in_sync(arena)
                    say("flushing, and waiting for the end")
                    await _settled(arena)
                except TimeoutError:
                    await arena.workers.say_waits()
                    raise
                for place in arena.workers.places:
                    await arena.workers.stop(place)
            say("checking")
            result.verdict = await _judge(arena, manifest)
        finally:
            result.records, result.retried = len(manifest.sent), manifest.retried
            await producer.close()
            manifest.close()


async def _run_step(step: Step, arena: Arena, load: Load, producer: LoadProducer, result: PartResult, say: Say) -> None:
    groups = load.chunk(step.chunk, step.faults)
    sending = asyncio.create_task(producer.send(groups, RECORDS_PER_S))
    try:
        begin_s = step.chunk / RECORDS_PER_S * arena.random.uniform(*BEGIN_SHARE)
        observed = await asyncio.gather(
            *(_act(kind, arena, 0.0 if kind in WAITING else begin_s) for kind in step.faults)
        )
        # What comes with the load is over when the load is.
        await asyncio.wait_for(sending, RECOVERY_TIMEOUT_S)
    finally:
        sending.cancel()
    recovered_s = await arena.progress.all_read(RECOVERY_TIMEOUT_S)
    for one in observed:
        result.observed.append(Observed(one.kind, recovered_s, one.detail, one.reached))
    said = ", ".join(f"{one.kind}{f' ({one.detail})' if one.detail else ''}" for one in observed)
    unexpected = sum(result.ends.unexpected.values())
    say(
        f"{step.number + 1}/{len(result.part.steps)} at {step.at_record:,}: {said}; through after {recovered_s:.1f} s"
        + (f"; {unexpected} unexpected ends" if unexpected else "")
    )


async def _act(kind: str, arena: Arena, begin_s: float) -> Observed:
    await asyncio.sleep(begin_s)
    try:
        return Observed(kind, 0.0, await ACTS[kind](arena))
    except NotReached as error:
        return Observed(kind, 0.0, f"did not come to {error}", reached=False)


async def _all_started(arena: Arena) -> None:
    async with asyncio.timeout(START_TIMEOUT_S):
        while not all(b"worker.started" in place.log_file.read_bytes() for place in arena.workers.places):
            await asyncio.sleep(STARTED_POLL_S)


async def _judge(arena: Arena, manifest: Manifest) -> Verdict:
    sent = list(manifest.sent.values())
    # The checker's sessions may stand still for longer than a worker's.
    storage = arena.settings.storage.model_copy(update={"idle_in_transaction_session_timeout_s": CHECK_IDLE_S})
    settings = arena.settings.model_copy(update={"storage": storage})
    places = await places_in_log(settings, PARTITIONS)
    return await check(settings, produced(sent, places, PARTITIONS), newest_facts(sent))


async def _settled(arena: Arena) -> None:
    """Everything is flushed, nothing is held any more and the outbox is published."""
    deadline = time.monotonic() + SETTLE_TIMEOUT_S
    while True:
        try:
            await flush_all(arena.settings, Flush(timeout_s=SETTLE_TIMEOUT_S, wait_held=True, quiet=True))
            break
        except MemostreamError:
            if time.monotonic() > deadline:
                raise
            await asyncio.sleep(1.0)
    engine = create_engine(arena.settings.storage)
    try:
        while True:
            async with engine.connect() as connection:
                left = await connection.scalar(select(func.count()).select_from(outbox))
            if not left:
                return
            if time.monotonic() > deadline:
                raise TimeoutError(f"{left} rows of the outbox are not published")
            await asyncio.sleep(0.5)
    finally:
        await engine.dispose()
