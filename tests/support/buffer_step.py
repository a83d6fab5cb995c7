"""Records of `chat-messages`, and the buffer step of one partition with a log and a changelog in lists."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import orjson

from schemas.headers import Headers
from schemas.identity import content_hash
from schemas.tokens import estimate_tokens
from schemas.windows import Position, Unit, Window, WindowCommand, decode_window
from streams.buffer_codec import HeadKey
from streams.buffer_state import PartitionState
from streams.buffer_store import MemoryPartitionStore, PartitionStore
from streams.buffering import BufferContext, handle
from streams.raw_records import Effects, Outgoing, RawRecord
from streams.topics import partition_for
from streams.windowing import Head, WindowPolicy

START_MS = 1_795_000_000_000
DAY_MS = 24 * 3600 * 1000
HOUR_MS = 3600 * 1000
# Partitions of a topic, the one that user u1 belongs on, and another one.
FOUR = 4
HOME = partition_for(b"u1", FOUR)
AWAY = (HOME + 1) % FOUR
TOPIC = "chat-messages"


def policy(**changes: int) -> WindowPolicy:
    """Limits that no small test reaches, but for those given."""
    defaults = {
        "close_tokens": 100_000,
        "process_tokens": 100_000,
        "max_blobs": 1000,
        "max_bytes": 1 << 20,
        "max_age_ms": DAY_MS,
        "flush_interval_ms": HOUR_MS,
    }
    return WindowPolicy(**{**defaults, **changes})


def context(
    limits: WindowPolicy | None = None, *, partition: int = 0, partitions: int = 1, max_blob_bytes: int = 1 << 20
) -> BufferContext:
    return BufferContext(
        partition=partition,
        partitions=partitions,
        group="memostream-buffer",
        policy=limits or policy(),
        max_blob_bytes=max_blob_bytes,
        count_tokens=estimate_tokens,
    )


def chat(*texts: str, user_id: str = "u1", **envelope: object) -> dict[str, Any]:
    """A chat blob whose messages the user said."""
    messages = [{"role": "user", "content": text} for text in texts or ("hello",)]
    return {"user_id": user_id, **envelope, "blob_data": {"messages": messages}}


def flush(user_id: str = "u1", **more: object) -> dict[str, Any]:
    return {"command": "flush", "user_id": user_id, **more}


def forget(user_id: str = "u1", **more: object) -> dict[str, Any]:
    return {"command": "forget-user", "user_id": user_id, **more}


def raw(
    value: Mapping[str, Any] | bytes | None,
    offset: int = 0,
    *,
    key: bytes | None = b"",
    partition: int = 0,
    timestamp_ms: int | None = None,
    headers: Headers = (),
) -> RawRecord:
    """A record as read; an empty key stands for the user id that the value names."""
    if isinstance(value, Mapping):
        key = str(value.get("user_id", "u1")).encode() if key == b"" else key
        value = orjson.dumps(value)
    return RawRecord(
        topic=TOPIC,
        partition=partition,
        offset=offset,
        timestamp_ms=START_MS + offset if timestamp_ms is None else timestamp_ms,
        key=b"u1" if key == b"" else key,
        value=value,
        headers=headers,
    )


def unit(
    blob_id: str = "b1",
    content: Mapping[str, Any] | None = None,
    *,
    tokens: int = 10,
    occurred_at_ms: int = START_MS,
    recorded_at_ms: int | None = None,
    origin: Position | None = None,
) -> Unit:
    """A whole blob as the buffer holds it."""
    document = dict(content or {"blob_type": "chat", "blob_data": {"messages": [{"role": "user", "content": "hi"}]}})
    recorded = occurred_at_ms if recorded_at_ms is None else recorded_at_ms
    return Unit(
        blob_id=blob_id,
        content_hash=content_hash(document),
        token_count=tokens,
        occurred_at_ms=occurred_at_ms,
        recorded_at_ms=recorded,
        position=Position(topic=TOPIC, partition=0, offset=0, timestamp_ms=recorded),
        origin=origin,
        content=document,
    )


class StepRun:
    """One partition through batches and crashes, as `PartitionOwner` runs it: the store is written after the commit.

    `sent` and `changelog` hold what was committed.
    """

    def __init__(self, store: PartitionStore | None = None, settings: BufferContext | None = None) -> None:
        self.context = settings or context()
        self.store = store or MemoryPartitionStore()
        self.changelog: list[tuple[bytes, bytes | None]] = []
        self.sent: list[Outgoing] = []
        self.state = PartitionState(self.store)

    def decide(self, records: Sequence[RawRecord]) -> Effects:
        """Decide a batch without committing it."""
        effects = Effects()
        for record in records:
            handle(record, self.state, self.context, effects)
        return effects

    def commit(self, records: Sequence[RawRecord]) -> Effects:
        """Decide a batch and commit it everywhere."""
        effects = self.commit_to_kafka(records)
        self.state.commit(len(self.changelog))
        return effects

    def commit_to_kafka(self, records: Sequence[RawRecord]) -> Effects:
        """Decide a batch and commit it to Kafka only, as a worker does that dies before it writes its store."""
        effects = self.decide(records)
        self.sent += effects.outgoing
        self.changelog += self.state.pending.items()
        return effects

    def restart(self, open_store: Callable[[], PartitionStore] | None = None) -> None:
        """Lose everything but Kafka and the store (or open another one), catch up, and load."""
        if open_store is not None:
            self.store.close()
            self.store = open_store()
        start = self.store.next_offset or 0
        self.store.write(dict(self.changelog[start:]), len(self.changelog))
        self.state = PartitionState(self.store)

    def final_state(self) -> tuple[dict[HeadKey, Head], dict[bytes, bytes]]:
        return dict(self.state.heads), dict(self.store.items())


def windows_of(outgoing: Sequence[Outgoing]) -> list[Window | WindowCommand]:
    return [decode_window(record.value) for record in outgoing if record.destination == "extraction_windows"]


def only_windows(outgoing: Sequence[Outgoing]) -> list[Window]:
    return [item for item in windows_of(outgoing) if isinstance(item, Window)]


def only_commands(outgoing: Sequence[Outgoing]) -> list[WindowCommand]:
    return [item for item in windows_of(outgoing) if isinstance(item, WindowCommand)]


def blob_ids(window: Window) -> list[str]:
    return [item.blob_id for item in window.units]


def reason_of(letter: Outgoing) -> str:
    """Why a record was parked."""
    return (dict(letter.headers)["__memostream.errors.reason"] or b"").decode()


def letters(run: StepRun) -> list[Outgoing]:
    """The dead letters that the run has sent."""
    return [record for record in run.sent if record.destination == "dead_letters"]


def buffered_ids(run: StepRun, user_id: str = "u1", blob_type: str = "chat") -> list[str]:
    """Ids of what is buffered, in order; the run goes on as if nobody had looked."""
    key = HeadKey("default", user_id, blob_type)
    held = run.state.take(key)
    run.restart()
    return [entry.blob_id for entry in held]


NewRun = Callable[..., StepRun]
