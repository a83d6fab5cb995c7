"""Changes of a profile: decided against the locked rows, then written in few statements."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Final, TypeVar
from uuid import UUID

from sqlalchemy import and_, bindparam, delete, select
from sqlalchemy.ext.asyncio import AsyncConnection

from schemas.changes import ProfileEntry
from schemas.memory import ChangeOp, Embedding, EmbeddingModel, SlotChange, slot_text
from storage.columns import without_search
from storage.compiled import Compiled, Record
from storage.locking import OWNER, LockedUser
from storage.tables import profile_history, profiles
from storage.text import quotes_to_json, rfc3339
from storage.vector_columns import HELD, IN_USE, VECTORS, VectorColumn, model_named, placed
from storage.writes import RowsOf, Writes

# A slot that is updated for years would drag all its messages through every state; history has the rest.
MAX_MESSAGE_IDS: Final = 100
MAX_WINDOW_IDS: Final = 100

T = TypeVar("T")

# What an upsert sets anew.
_MOVED: Final = ("content", "update_hits", "message_ids", "window_ids", "occurred_at", "recorded_at", "updated_at")
_ENTRIES: Final = RowsOf(
    profiles,
    *(*OWNER, "profile_id", "topic", "sub_topic", "created_at", *VECTORS, *_MOVED),
    key="profile_id",
    moved=_MOVED,
)
_HISTORY: Final = RowsOf(
    profile_history,
    *OWNER,
    *("profile_id", "topic", "sub_topic", "op", "before", "after", "why", "revision", "message_ids", "quotes"),
    *("joined", "window_ids", "extractor", "occurred_at", "recorded_at"),
)
_OWNED: Final = and_(*(profiles.c[name] == bindparam(name) for name in OWNER))
_ROWS: Final = Compiled(select(*without_search(profiles)).where(_OWNED))
# In one round trip; at least a row, for there may be no entry.
_ROWS_AND_COLUMN: Final = Compiled(
    select(*without_search(profiles), HELD.c.name.label("vector_column")).select_from(HELD.outerjoin(profiles, _OWNED))
)


@dataclass(frozen=True, slots=True)
class ProfileRow:
    """A row of `profiles`, without its owner."""

    profile_id: UUID
    topic: str
    sub_topic: str
    content: str
    update_hits: int
    message_ids: tuple[str, ...]
    window_ids: tuple[UUID, ...]
    occurred_at: datetime
    recorded_at: datetime
    created_at: datetime
    updated_at: datetime

    def entry(self) -> ProfileEntry:
        """As it is published."""
        return ProfileEntry(
            id=self.profile_id,
            topic=self.topic,
            sub_topic=self.sub_topic,
            content=self.content,
            occurred_at=rfc3339(self.occurred_at),
            recorded_at=rfc3339(self.recorded_at),
            update_hits=self.update_hits,
            message_ids=self.message_ids,
        )


@dataclass(frozen=True, slots=True)
class DecidedChange:
    """A change with the rows before and after it; `op` is what it does to the rows that are there."""

    op: ChangeOp
    before: ProfileRow | None
    after: ProfileRow | None
    change: SlotChange

    @property
    def is_published(self) -> bool:
        """Whether the slot reads otherwise than before; what was only said again is no news to anybody."""
        return self.before is None or self.after is None or self.before.content != self.after.content

    @property
    def row(self) -> ProfileRow:
        row = self.after or self.before
        if row is None:
            raise ValueError("a change has a row before or after it")
        return row


def decide_changes(
    rows: Iterable[ProfileRow],
    changes: Iterable[SlotChange],
    window_ids: Sequence[UUID],
    now: datetime,
    new_id: Callable[[], UUID],
) -> tuple[list[DecidedChange], list[ProfileRow]]:
    """What the changes do to the rows, and the rows afterwards, by topic and sub-topic.

    A change that leaves its slot as it is, or deletes one that is not there, is left out; but what restates the value
    later than it was said before moves its time. A slot that others are joined into takes their windows over.
    """
    slots = {(row.topic, row.sub_topic): row for row in rows}
    rows_before = dict(slots)
    decided = []
    for change in changes:
        slot = (change.topic, change.sub_topic)
        before = slots.get(slot)
        sources = [rows_before[key] for name in change.joined if (key := (change.topic, name)) in rows_before]
        from_windows = [*(identifier for row in sources for identifier in row.window_ids), *window_ids]
        if change.after is None:
            if before is not None:
                decided.append(DecidedChange("d", before, None, change))
                del slots[slot]
        elif before is None:
            after = ProfileRow(
                profile_id=new_id(),
                topic=change.topic,
                sub_topic=change.sub_topic,
                content=change.after,
                update_hits=0,
                message_ids=_latest(change.message_ids, MAX_MESSAGE_IDS),
                window_ids=_latest(from_windows, MAX_WINDOW_IDS),
                occurred_at=change.occurred_at,
                recorded_at=now,
                created_at=now,
                updated_at=now,
            )
            slots[slot] = after
            decided.append(DecidedChange("c", None, after, change))
        elif before.content != change.after:
            after = replace(
                before,
                content=change.after,
                update_hits=before.update_hits + 1,
                message_ids=_latest((*before.message_ids, *change.message_ids), MAX_MESSAGE_IDS),
                window_ids=_latest((*before.window_ids, *from_windows), MAX_WINDOW_IDS),
                occurred_at=change.occurred_at,
                recorded_at=now,
                updated_at=now,
            )
            slots[slot] = after
            decided.append(DecidedChange("u", before, after, change))
        elif change.restates and (change.joined or change.occurred_at > before.occurred_at):
            # When its content was recorded, and how often it changed, stays as it was.
            after = replace(
                before,
                message_ids=_latest((*before.message_ids, *change.message_ids), MAX_MESSAGE_IDS),
                window_ids=_latest((*before.window_ids, *from_windows), MAX_WINDOW_IDS),
                occurred_at=change.occurred_at,
            )
            slots[slot] = after
            decided.append(DecidedChange("u", before, after, change))
    return decided, [slots[slot] for slot in sorted(slots)]


async def read_rows(connection: AsyncConnection, user: LockedUser) -> list[ProfileRow]:
    """The live profile of a locked user."""
    return [profile_row(row) for row in await _ROWS.rows(connection, **user.owner)]


async def read_rows_and_column(
    connection: AsyncConnection, user: LockedUser, model: EmbeddingModel | None
) -> tuple[list[ProfileRow], VectorColumn | None]:
    """The live profile of a locked user, and where the vectors of a model belong: see `vector_column`."""
    rows = await _ROWS_AND_COLUMN.rows(connection, **user.owner, **model_named(model))
    return [profile_row(row) for row in rows if row["profile_id"] is not None], rows[0]["vector_column"]


def profile_row(row: Record) -> ProfileRow:
    """A row of `profiles` as a value."""
    return ProfileRow(
        profile_id=row["profile_id"],
        topic=row["topic"],
        sub_topic=row["sub_topic"],
        content=row["content"],
        update_hits=row["update_hits"],
        message_ids=tuple(row["message_ids"]),
        window_ids=tuple(row["window_ids"]),
        occurred_at=row["occurred_at"],
        recorded_at=row["recorded_at"],
        created_at=row["created_at"],
        updated_at=row["updated_at"],
    )


async def write_changes(
    connection: AsyncConnection,
    user: LockedUser,
    decided: Sequence[DecidedChange],
    *,
    revision: int,
    extractor: Mapping[str, str] | None,
    window_ids: Sequence[UUID],
    now: datetime,
) -> None:
    """Write profile and history rows. A trigger takes the embeddings of an entry away whose text changes."""
    writes = Writes()
    await remove_entries(connection, decided)
    add_changes(writes, user, decided, revision=revision, extractor=extractor, window_ids=window_ids, now=now)
    await writes.send(connection)


async def remove_entries(connection: AsyncConnection, decided: Sequence[DecidedChange]) -> None:
    """Delete the rows of entries that the changes take away, which has to come before others take their slots."""
    removed = [item.before.profile_id for item in decided if item.op == "d" and item.before is not None]
    if removed:
        await connection.execute(delete(profiles).where(profiles.c.profile_id.in_(removed)))


def add_changes(
    writes: Writes,
    user: LockedUser,
    decided: Sequence[DecidedChange],
    *,
    revision: int,
    extractor: Mapping[str, str] | None,
    window_ids: Sequence[UUID],
    now: datetime,
    embeddings: Mapping[str, Embedding] | None = None,
    vector_column: VectorColumn | None = IN_USE,
) -> None:
    """Add profile and history rows, but for the entries that `remove_entries` deletes.

    `embeddings` are those of new entries, by `slot_text`; they go to `vector_column`, and nowhere where that is None.
    """
    # Of an entry that is changed twice the last row.
    kept = {item.after.profile_id: item.after for item in decided if item.after is not None}
    writes.add(
        _ENTRIES,
        (
            {
                **user.owner,
                "profile_id": row.profile_id,
                "topic": row.topic,
                "sub_topic": row.sub_topic,
                "content": row.content,
                "update_hits": row.update_hits,
                "message_ids": row.message_ids,
                "window_ids": row.window_ids,
                "occurred_at": row.occurred_at,
                "recorded_at": row.recorded_at,
                "created_at": row.created_at,
                "updated_at": row.updated_at,
                **placed((embeddings or {}).get(slot_text(row.topic, row.sub_topic, row.content)), vector_column),
            }
            for row in kept.values()
        ),
    )
    writes.add(
        _HISTORY,
        (
            {
                **user.owner,
                "profile_id": item.row.profile_id,
                "topic": item.row.topic,
                "sub_topic": item.row.sub_topic,
                "op": item.op,
                # Empty where it was deleted, and is not to be kept here either.
                "before": None if item.before is None else item.before.content or None,
                "after": None if item.after is None else item.after.content,
                "why": item.change.why,
                "revision": revision,
                "message_ids": item.change.message_ids,
                "quotes": quotes_to_json(item.change.quotes),
                "joined": item.change.joined,
                "window_ids": window_ids,
                "extractor": extractor,
                "occurred_at": item.change.occurred_at,
                "recorded_at": now,
            }
            for item in decided
        ),
    )


def _latest(values: Iterable[T], limit: int) -> tuple[T, ...]:
    return tuple(dict.fromkeys(values))[-limit:]
