"""A partition of `chat-messages` as a shadow buffers it: nothing but its windows leaves it."""

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from typing import Final

import structlog

from schemas.settings import BufferSettings, KafkaSettings
from storage.shadows import is_in_range
from streams.buffer_codec import HeadKey
from streams.buffer_owner import MAX_TAILS_PER_CHECK, BufferOwner
from streams.buffer_state import PartitionState
from streams.buffer_store import PartitionStore
from streams.buffering import BufferContext, close
from streams.faust_app import FaustApp
from streams.partition_owner import OnFatal, OnLost, now_ms
from streams.raw_records import Effects, RawRecord
from streams.shadow_topics import ShadowTopics
from streams.stage_metrics import StageMetrics
from streams.windowing import Head

# The log's end must be seen so often in a row, for what a fetch has brought is not with its owner at once.
LOOKS_AT_END: Final = 2

log = structlog.get_logger()


@dataclass
class ShadowBuffer:
    """What a shadow takes of `chat-messages`, and how far its owners have come; shared by all of one worker.

    A partition that `begin_offsets` does not name is not read. `pace` is awaited after so many records, and
    `tails_before_ms` may be moved at any time.
    """

    topics: ShadowTopics
    begin_offsets: Mapping[int, int]
    end_offsets: Mapping[int, int] | None
    takes: Callable[[str, str], bool]
    pace: Callable[[int], Awaitable[None]]
    tails_before_ms: int = 0
    # By partition: the `tails_before_ms` up to which this worker has closed tails.
    tails_closed: dict[int, int] = field(default_factory=dict)
    app: FaustApp | None = None

    def takes_offset(self, partition: int, offset: int) -> bool:
        return is_in_range(self.begin_offsets, self.end_offsets, partition, offset)

    def news(self, noted: Mapping[int, int]) -> Mapping[int, int]:
        """Of `tails_closed` what has come to the last `tails_before_ms`, and is not noted yet."""
        return {
            partition: closed_ms
            for partition, closed_ms in self.tails_closed.items()
            if closed_ms and closed_ms == self.tails_before_ms != noted.get(partition)
        }

    def end_of(self, partition: int) -> int | None:
        """Before which offset its reading ends; None where it goes on."""
        return None if self.end_offsets is None else self.end_offsets.get(partition, 0)


class ShadowBufferOwner(BufferOwner):
    """Decides as the live owner does, but sends only windows: what is forwarded comes by, and what is parked is known.

    A tail is closed here and now, not by a command that live memory would see; before the end of the log is reached
    none is, for by the wall clock all of them are old.
    """

    def __init__(
        self,
        shadow: ShadowBuffer,
        kafka: KafkaSettings,
        settings: BufferSettings,
        context: BufferContext,
        store: PartitionStore,
        on_lost: OnLost,
        on_fatal: OnFatal,
        metrics: StageMetrics,
    ) -> None:
        super().__init__(kafka, settings, context, store, on_lost, on_fatal, metrics, shadow.topics)
        self._shadow = shadow
        self._looks_at_end = 0

    def abandon(self) -> None:
        super().abandon()
        self._shadow.tails_closed.pop(self.place.partition, None)

    def _decide(self, record: RawRecord, effects: Effects) -> None:
        if self._shadow.takes_offset(record.partition, record.offset):
            super()._decide(record, effects)

    async def _process(self, records: list[RawRecord]) -> None:
        await super()._process(records)
        await self._shadow.pace(sum(self._shadow.takes_offset(record.partition, record.offset) for record in records))

    async def _check(self, at_ms: int) -> None:
        app, partition = self._shadow.app, self.place.partition
        end = self._shadow.end_of(partition)
        if app is None or not app.has_read(self.place, end):
            self._looks_at_end = 0
            return
        self._looks_at_end += 1
        if self._looks_at_end < LOOKS_AT_END:
            return
        before_ms = self._shadow.tails_before_ms
        # Nothing more will come to them.
        await self._close_tails(now_ms() if end is not None else before_ms)
        self._shadow.tails_closed[partition] = before_ms
        await super()._check(at_ms)

    async def _close_tails(self, before_ms: int) -> None:
        """Close what is buffered and was recorded up to then."""
        state = self._owned_state()
        while tails := [key for key, head in state.heads.items() if head.last_recorded_ms <= before_ms]:
            effects = Effects()
            for key in tails[:MAX_TAILS_PER_CHECK]:
                close(key, "flush", self._next_offset, state, self._context, effects)
            await self._send(state, effects, None)
            log.debug("buffer.tails_flushed", partition=self.place.partition, users=len(tails))

    def _end_tail(self, key: HeadKey, head: Head, effects: Effects) -> None:  # noqa: ARG002
        close(key, "idle", self._next_offset, self._owned_state(), self._context, effects)

    async def _send(self, state: PartitionState, effects: Effects, next_offset: int | None) -> None:
        effects.outgoing = [record for record in effects.outgoing if record.destination == "extraction_windows"]
        await super()._send(state, effects, next_offset)
