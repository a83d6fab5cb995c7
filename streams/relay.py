"""The outbox relay: claims shards of users, and publishes each user's rows in order, at least once, with stable ids."""

import asyncio
import time
import uuid
from collections import Counter
from collections.abc import Callable, Coroutine
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from typing import Any, Final

import structlog
from sqlalchemy.ext.asyncio import AsyncEngine

from schemas.errors import LeaseLost, RetryLater
from schemas.metrics import NO_METRICS
from schemas.settings import KafkaSettings, RelaySettings
from schemas.trace import TRACEPARENT, TRACESTATE, valid_trace
from schemas.tracing import sending
from storage import leases, outbox
from storage.errors import translated
from storage.listening import listen
from storage.outbox import OutboxRow
from streams.relay_publisher import RecordRefused, ShardPublisher, topic_of
from streams.stage_metrics import ROW, StageMetrics
from streams.stopping import FAREWELL_S
from streams.topics import Topics

log = structlog.get_logger()

BACKOFF_MIN_S: Final = 0.2
BACKOFF_MAX_S: Final = 10.0
# A user with a record that the broker refuses waits, so that others do not; then it is tried again.
REFUSED_RETRY_S: Final = 60.0
# The database judges what has expired by its own clock, when it is asked.
EXPIRY_MARGIN_S: Final = 0.1

UserKey = tuple[str, str]


@dataclass
class _Shard:
    """A shard that this relay publishes. `limit` shrinks to find a record that is refused."""

    number: int
    limit: int
    wakeup: asyncio.Event = field(default_factory=asyncio.Event)
    leaving: bool = False
    failures: int = 0
    refused: dict[UserKey, float] = field(default_factory=dict)
    task: "asyncio.Task[None] | None" = None

    def leave(self) -> None:
        """Finish the batch at hand, then give the shard back."""
        self.leaving = True
        self.wakeup.set()


class Relay:
    """One relay of a process. Any number may run side by side; each takes its share of the shards.

    All relays of a database must agree on `relay.shards`: while one with another number is alive, this one waits.
    """

    def __init__(
        self,
        engine: AsyncEngine,
        kafka: KafkaSettings,
        settings: RelaySettings,
        worker: str,
        *,
        new_publisher: Callable[[KafkaSettings, int], ShardPublisher] = ShardPublisher,
        monotonic: Callable[[], float] = time.monotonic,
        metrics: StageMetrics | None = None,
    ) -> None:
        self._engine = engine
        self._kafka = kafka
        self._settings = settings
        # Of this run alone: a restarted worker must not take its former self's leases for its own.
        self.owner = f"{worker}-{uuid.uuid4().hex[:12]}"
        self._new_publisher = new_publisher
        self._monotonic = monotonic
        self._metrics = metrics or StageMetrics(NO_METRICS, "relay")
        self._shards: dict[int, _Shard] = {}
        self._stopping = asyncio.Event()
        self._next_round = asyncio.Event()
        self._closing: set[asyncio.Task[None]] = set()

    @property
    def shards(self) -> frozenset[int]:
        """Shards that this relay publishes now."""
        return frozenset(self._shards)

    async def has_rows(self) -> bool:
        """Whether its shards hold rows of users who need not wait for a record that was refused."""
        refused = {user for shard in self._shards.values() for user in shard.refused}
        with translated("looking at the outbox"):
            async with self._engine.connect() as connection:
                return await outbox.has_rows(connection, self.shards, self._settings.shards, refused)

    async def run(self) -> None:
        """Publish until cancelled or stopped; an away broker or database is waited for.

        Any other error ends it: the process is then to end, too.
        """
        try:
            async with asyncio.TaskGroup() as group:
                listening = group.create_task(listen(self._engine, leases.CHANNEL, self._notified, self._wake_all))
                await self._manage(group)
                listening.cancel()
        finally:
            await self._give_back()

    def stop(self) -> None:
        """Let `run` finish the batches at hand, give the shards back and return."""
        self._stopping.set()
        self._next_round.set()

    async def _manage(self, group: asyncio.TaskGroup) -> None:
        while not self._stopping.is_set():
            self._next_round.clear()
            pause_s = self._settings.lease_s / 3
            try:
                # A relay that was killed is not waited for longer than its leases last.
                pause_s = min(pause_s, await self._share_out(group) + EXPIRY_MARGIN_S)
            except RetryLater as error:
                log.warning("relay.waiting", reason=str(error))
            if not self._stopping.is_set():
                await _wait(self._next_round, pause_s)
        running = [shard.task for shard in self._shards.values() if shard.task is not None]
        for shard in self._shards.values():
            shard.leave()
        if running:
            await asyncio.wait(running)

    async def _share_out(self, group: asyncio.TaskGroup) -> float:
        """Renew, drop what was lost, leave what is too much, claim what is too little.

        Returns after how many seconds there may be shards of a relay that has not checked in again.
        """
        total, lease_s = self._settings.shards, self._settings.lease_s
        with translated("renewing relay leases"):
            async with self._engine.begin() as connection:
                share = await leases.check_in(connection, self.owner, total, lease_s)
        held = share.held
        if len(held) < share.fair:
            with translated("claiming relay shards"):
                async with self._engine.begin() as connection:
                    wanted = share.fair - len(held)
                    held |= await leases.claim(connection, self.owner, total, wanted, lease_s)
        for number, shard in list(self._shards.items()):
            # One that is being given back may have gone a moment ago.
            if number not in held and not shard.leaving:
                log.warning("relay.lease_expired", shard=number)
                self._metrics.lease_lost()
                self._drop(shard)
        for number in sorted(held - self.shards):
            shard = _Shard(number, self._settings.batch_rows)
            self._shards[number] = shard
            shard.task = group.create_task(self._run_shard(shard))
        for number in sorted(held)[share.fair :]:
            self._shards[number].leave()
        return share.next_expiry_s

    def _drop(self, shard: _Shard) -> None:
        self._shards.pop(shard.number, None)
        if shard.task is not None:
            shard.task.cancel()

    async def _run_shard(self, shard: _Shard) -> None:
        try:
            while not shard.leaving:
                try:
                    await self._own_shard(shard)
                except RetryLater as error:
                    log.warning("relay.waiting", shard=shard.number, reason=str(error))
                    shard.wakeup.clear()
                    backoff_s = min(BACKOFF_MIN_S * 2**shard.failures, BACKOFF_MAX_S)
                    shard.failures = min(shard.failures + 1, 10)
                    if not shard.leaving:
                        await _wait(shard.wakeup, max(backoff_s, error.delay_s))
            await self._release(shard)
            # It may have been claimed again while it was being given back.
            self._next_round.set()
        except LeaseLost as error:
            log.warning("relay.shard_lost", shard=shard.number, reason=str(error))
            self._metrics.lease_lost()
        finally:
            if self._shards.get(shard.number) is shard:
                del self._shards[shard.number]

    async def _own_shard(self, shard: _Shard) -> None:
        """Publish with one producer, until something is refused or the shard is left."""
        publisher = self._new_publisher(self._kafka, shard.number)
        try:
            await publisher.open()
            log.info("relay.shard_opened", shard=shard.number)
            while not shard.leaving:
                shard.wakeup.clear()
                rows = await self._read(shard)
                if not rows:
                    await _wait(shard.wakeup, self._settings.poll_interval_s)
                    continue
                try:
                    with self._published(rows):
                        await publisher.publish(rows)
                except RecordRefused:
                    self._narrow(shard, rows)
                    return
                await self._delete(shard, rows)
                shard.limit = min(shard.limit * 2, self._settings.batch_rows)
                shard.failures = 0
        finally:
            self._in_background(self._close(publisher, shard.number))

    def _published(self, rows: list[OutboxRow]) -> AbstractContextManager[None]:
        topics = Topics(self._kafka.topic_prefix)
        about = sending(topic_of(topics, row.aggregate_type) for row in rows)
        traces = (valid_trace(row.headers.get(TRACEPARENT), row.headers.get(TRACESTATE)) for row in rows)
        counts = Counter(f"{ROW}{row.aggregate_type}" for row in rows)
        return self._metrics.transaction(counts, about, filter(None, traces), len(rows))

    async def _read(self, shard: _Shard) -> list[OutboxRow]:
        now = self._monotonic()
        shard.refused = {user: until for user, until in shard.refused.items() if until > now}
        with translated("reading the outbox"):
            async with self._engine.connect() as connection:
                rows = await outbox.read_batch(
                    connection, self.owner, shard.number, self._settings.shards, shard.limit, list(shard.refused)
                )
                if not rows and not await leases.holds(connection, self.owner, self._settings.shards, shard.number):
                    raise LeaseLost("the lease has expired")
                return rows

    async def _delete(self, shard: _Shard, rows: list[OutboxRow]) -> None:
        with translated("deleting published rows"):
            async with self._engine.connect() as connection:
                await outbox.delete_rows(connection, [row.id for row in rows])
        log.info("relay.published", shard=shard.number, rows=len(rows))

    def _narrow(self, shard: _Shard, rows: list[OutboxRow]) -> None:
        """Halve the batch until the refused row stands alone; then its user waits."""
        if len(rows) > 1:
            shard.limit = len(rows) // 2
            return
        row = rows[0]
        shard.refused[row.project_id, row.user_id] = self._monotonic() + REFUSED_RETRY_S
        shard.limit = self._settings.batch_rows
        self._metrics.row_refused()
        log.error(
            "relay.record_refused",
            shard=shard.number,
            outbox_id=str(row.id),
            kind=row.aggregate_type,
            size_bytes=len((row.payload or "").encode()),
        )

    async def _release(self, shard: _Shard) -> None:
        try:
            with translated("releasing a shard"):
                async with self._engine.begin() as connection:
                    await leases.release(connection, self.owner, self._settings.shards, [shard.number])
        except RetryLater as error:
            # It will expire.
            log.warning("relay.not_released", shard=shard.number, reason=str(error))

    async def _give_back(self) -> None:
        # Side by side: the next owner's producer fences ours, whether it has closed or not.
        await asyncio.gather(self._check_out(), self._closed())

    async def _check_out(self) -> None:
        try:
            with translated("giving shards back"):
                async with asyncio.timeout(FAREWELL_S), self._engine.begin() as connection:
                    await leases.check_out(connection, self.owner)
        except RetryLater as error:
            log.warning("relay.not_released", reason=str(error))

    async def _closed(self) -> None:
        if self._closing:
            await asyncio.wait(self._closing, timeout=FAREWELL_S)

    async def _close(self, publisher: ShardPublisher, shard: int) -> None:
        try:
            await publisher.close()
        except (LeaseLost, RetryLater) as error:
            log.debug("relay.closed_with_error", shard=shard, reason=str(error))

    def _in_background(self, work: Coroutine[Any, Any, None]) -> None:
        """With the broker away a producer takes long to stop; the next one must not wait for it."""
        task = asyncio.create_task(work)
        self._closing.add(task)
        task.add_done_callback(self._closing.discard)

    def _notified(self, payload: str) -> None:
        if payload == leases.FREED:
            self._next_round.set()
        if not payload.isdecimal():
            return
        shard = self._shards.get(int(payload) % self._settings.shards)
        if shard is not None:
            shard.wakeup.set()

    def _wake_all(self) -> None:
        for shard in self._shards.values():
            shard.wakeup.set()


async def _wait(event: asyncio.Event, timeout_s: float) -> None:
    """Until the event is set, or for so long."""
    try:
        async with asyncio.timeout(timeout_s):
            await event.wait()
    except TimeoutError:
        return
