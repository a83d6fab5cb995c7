"""Shadows: what is known of each, and the lock under which one's memory of a user is written."""

from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager, suppress
from dataclasses import asdict, dataclass
from datetime import datetime
from decimal import Decimal
from typing import Any, Final, Literal

from sqlalchemy import BindParameter, Row, bindparam, func, select, update
from sqlalchemy.dialects.postgresql import insert as upsert
from sqlalchemy.exc import SQLAlchemyError
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine

from schemas.errors import Conflict
from schemas.headers import BLOB_ID
from schemas.memory import ExtractorIdentity
from storage.compiled import Compiled
from storage.errors import CONNECTION_ERRORS, translated
from storage.ledger import LedgerRow
from storage.locking import LockedUser, lock_name
from storage.outbox import OutboxRow
from storage.shadow_tables import shadow_letters, shadow_users, shadow_windows, shadows
from storage.tables import users
from storage.writes import RowsOf, Writes

Source = Literal["chat-messages", "extraction-windows"]
State = Literal["creating", "running", "promoting", "promoted"]

_NAMED: Final[Mapping[str, BindParameter[Any]]] = {
    name: bindparam(name) for name in ("generation", "project_id", "user_id")
}
_OF_USER: Final = tuple(shadow_users.c[name] == value for name, value in _NAMED.items())
_CREATE: Final = Compiled(upsert(shadow_users).values(_NAMED).on_conflict_do_nothing())
_LOCK: Final = Compiled(select(shadow_users.c.revision).where(*_OF_USER).with_for_update())
_COUNT: Final = Compiled(update(shadow_users).where(*_OF_USER).values(revision=bindparam("new_revision")))
_LIVE: Final = Compiled(
    select(users.c.live_generation).where(
        users.c.project_id == _NAMED["project_id"], users.c.user_id == _NAMED["user_id"]
    )
)
_COUNTS: Final = ("applied_count", "parked_count", "duplicate_count", "erased_count")
_WINDOWS: Final = RowsOf(
    shadow_windows,
    *("generation", "window_id", "project_id", "user_id", "topic", "partition", "offset", "outcome"),
    *_COUNTS,
    "recorded_at",
    keeps=True,
)
_LETTERS: Final = RowsOf(
    shadow_letters,
    *("letter_id", "generation", "project_id", "user_id", "blob_id", "payload", "headers", "created_at"),
)


@dataclass(frozen=True, slots=True)
class NewShadow:
    """What a shadow is made from. Offsets are by partition, one that is not named is not read; without `end_offsets`
    it follows live memory on.
    """

    name: str
    topic_prefix: str
    source: Source
    begin_offsets: Mapping[int, int]
    end_offsets: Mapping[int, int] | None
    of_project: str | None
    of_user_hash: str | None
    max_cost: Decimal | None
    extractor: ExtractorIdentity


@dataclass(frozen=True, slots=True)
class Shadow(NewShadow):
    """A shadow that was made; `generation` is what its rows carry.

    `tails_closed` are the milliseconds of the `tails_before` that each partition has come to, once its buffer has read
    what there was.
    """

    generation: int
    state: State
    tails_before: datetime | None
    tails_closed: Mapping[int, int]
    created_at: datetime


def is_in_range(begin: Mapping[int, int], end: Mapping[int, int] | None, partition: int, offset: int) -> bool:
    """Whether a range of offsets by partition holds one: of a partition that `begin` does not name it holds none, and
    without `end` it has no end.
    """
    if partition not in begin or offset < begin[partition]:
        return False
    return end is None or offset < end.get(partition, 0)


async def create_shadow(connection: AsyncConnection, new: NewShadow, now: datetime) -> bool:
    """Write down a shadow in the state `creating`; False where the name is taken."""
    created = await connection.execute(
        upsert(shadows)
        .values(
            name=new.name,
            topic_prefix=new.topic_prefix,
            source=new.source,
            begin_offsets=_to_json(new.begin_offsets),
            end_offsets=None if new.end_offsets is None else _to_json(new.end_offsets),
            of_project=new.of_project,
            of_user_hash=new.of_user_hash,
            max_cost=new.max_cost,
            extractor=asdict(new.extractor),
            state="creating",
            created_at=now,
        )
        .on_conflict_do_nothing()
        .returning(shadows.c.generation)
    )
    return created.first() is not None


async def read_shadow(connection: AsyncConnection, topic_prefix: str, name: str) -> Shadow | None:
    """The shadow of that name on these topics."""
    query = select(shadows).where(shadows.c.topic_prefix == topic_prefix, shadows.c.name == name)
    row = (await connection.execute(query)).first()
    return None if row is None else _shadow(row)


async def read_shadows(connection: AsyncConnection, topic_prefix: str) -> Sequence[Shadow]:
    """All shadows on these topics, the oldest first."""
    query = select(shadows).where(shadows.c.topic_prefix == topic_prefix).order_by(shadows.c.generation)
    return [_shadow(row) for row in (await connection.execute(query)).all()]


async def set_state(connection: AsyncConnection, generation: int, state: State) -> None:
    await connection.execute(update(shadows).where(shadows.c.generation == generation).values(state=state))


async def set_max_cost(connection: AsyncConnection, generation: int, max_cost: Decimal) -> None:
    await connection.execute(update(shadows).where(shadows.c.generation == generation).values(max_cost=max_cost))


async def close_tails(connection: AsyncConnection, generation: int, before: datetime) -> None:
    """Have the shadow's workers close what is buffered and was recorded up to then."""
    await connection.execute(update(shadows).where(shadows.c.generation == generation).values(tails_before=before))


async def note_closed_tails(connection: AsyncConnection, generation: int, closed: Mapping[int, int]) -> None:
    """Say up to when the tails of some partitions are closed."""
    noted = shadows.c.tails_closed.concat(_to_json(closed))
    await connection.execute(update(shadows).where(shadows.c.generation == generation).values(tails_closed=noted))


async def lock_shadow_user(
    connection: AsyncConnection, generation: int, project_id: str, user_id: str
) -> LockedUser | None:
    """Lock the shadow's memory of a user until the transaction ends, and keep forgets out; None where that memory is
    the live one already, so that nobody but the live stages may write it.

    Whoever locks the user's row as well locks that first.
    """
    key = {"generation": generation, "project_id": project_id, "user_id": user_id}
    await lock_name(connection, project_id, user_id)
    revision = await lock_shadow_row(connection, generation, project_id, user_id)
    if revision is None:
        # Only a forget removes rows, and none can pass now.
        await _CREATE.row(connection, **key)
        revision = await lock_shadow_row(connection, generation, project_id, user_id)
    # A promotion takes the same lock, so this does not change any more.
    live = await _LIVE.row(connection, project_id=project_id, user_id=user_id)
    if live is not None and live["live_generation"] == generation:
        return None
    return LockedUser(project_id, user_id, revision or 0, 0, generation)


async def lock_shadow_row(connection: AsyncConnection, generation: int, project_id: str, user_id: str) -> int | None:
    """Lock a user's row of a shadow until the transaction ends, and return its revision; None where there is none.

    The user's name is locked before, and their own row before that.
    """
    row = await _LOCK.row(connection, generation=generation, project_id=project_id, user_id=user_id)
    return None if row is None else int(row["revision"])


async def count_shadow_on(connection: AsyncConnection, user: LockedUser, revision: int) -> None:
    """Store the revision that a transaction has moved."""
    if revision != user.revision:
        await _COUNT.row(connection, **user.owner, new_revision=revision)


def add_shadow_windows(writes: Writes, generation: int, rows: Sequence[LedgerRow]) -> None:
    """Add what would come to the ledger, keeping what is there; what a forget has erased is left out."""
    writes.add(
        _WINDOWS,
        (
            {
                "generation": generation,
                "window_id": row.ledger_id,
                "project_id": row.project_id,
                "user_id": row.user_id,
                "topic": row.position.topic,
                "partition": row.position.partition,
                "offset": row.position.offset,
                "outcome": row.outcome,
                **{name: getattr(row.counts, name.removesuffix("_count")) for name in _COUNTS},
                "recorded_at": row.recorded_at,
            }
            for row in rows
            if row.user_id is not None
        ),
    )


def add_shadow_letters(writes: Writes, generation: int, rows: Sequence[OutboxRow]) -> None:
    """Add what would be published of dead letters, until the user is promoted."""
    writes.add(
        _LETTERS,
        (
            {
                "letter_id": row.id,
                "generation": generation,
                "project_id": row.project_id,
                "user_id": row.user_id,
                "blob_id": row.headers[BLOB_ID],
                "payload": row.payload,
                "headers": row.headers,
                "created_at": row.created_at,
            }
            for row in rows
        ),
    )


@asynccontextmanager
async def deciding(engine: AsyncEngine, topic_prefix: str, name: str) -> AsyncIterator[None]:
    """While the block runs, nobody else promotes or discards the shadow of that name; raises Conflict where somebody
    does.

    Postgres forgets it with the connection, so also when the process is killed.
    """
    key = func.hashtextextended(f"shadow {topic_prefix}/{name}", 0)
    async with engine.connect() as connection:
        session = await connection.execution_options(isolation_level="AUTOCOMMIT")
        with translated("looking who works on a shadow"):
            is_alone = await session.scalar(select(func.pg_try_advisory_lock(key)))
        if not is_alone:
            raise Conflict(f"shadow {name} is being promoted or discarded by another process: wait for it, or stop it")
        try:
            yield
        finally:
            # Where the connection was lost, so was its lock.
            with suppress(SQLAlchemyError, *CONNECTION_ERRORS):
                await session.execute(select(func.pg_advisory_unlock(key)))


def _to_json(offsets: Mapping[int, int]) -> dict[str, int]:
    return {str(partition): offset for partition, offset in sorted(offsets.items())}


def _from_json(document: Mapping[str, int]) -> dict[int, int]:
    return {int(partition): offset for partition, offset in document.items()}


def _shadow(row: Row[Any]) -> Shadow:
    return Shadow(
        name=row.name,
        topic_prefix=row.topic_prefix,
        source=row.source,
        begin_offsets=_from_json(row.begin_offsets),
        end_offsets=None if row.end_offsets is None else _from_json(row.end_offsets),
        of_project=row.of_project,
        of_user_hash=row.of_user_hash,
        max_cost=row.max_cost,
        extractor=ExtractorIdentity(**row.extractor),
        generation=row.generation,
        state=row.state,
        tails_before=row.tails_before,
        tails_closed=_from_json(row.tails_closed),
        created_at=row.created_at,
    )
