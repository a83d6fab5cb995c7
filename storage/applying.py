"""The one transaction of an extraction: memory, history, units, ledger and outbox, under the user's lock."""

from collections import Counter
from collections.abc import Callable, Collection, Iterable, Mapping
from dataclasses import asdict, dataclass, replace
from datetime import datetime
from typing import Final
from uuid import UUID

from sqlalchemy.ext.asyncio import AsyncConnection

from schemas.changes import Event, EventGist, EventTag
from schemas.errors import Conflict
from schemas.memory import EmbeddingModel, ExtractorIdentity, MemoryUpdate
from schemas.trace import Trace
from schemas.windows import Position, Unit, Window, newest_trace, sessions_of
from storage.ledger import LedgerRow, UnitCounts, add_ledger, record_ledger, window_row
from storage.locking import OWNER, LockedUser, add_counters, lock_user
from storage.outbox import add_rows
from storage.outgoing import Outgoing, change_source
from storage.profile_writing import add_changes, decide_changes, read_rows_and_column, remove_entries
from storage.reading import look_up_units
from storage.shadows import add_shadow_letters, add_shadow_windows, count_shadow_on, lock_shadow_user
from storage.tables import events, gists
from storage.text import quotes_to_json, rfc3339, storable, storable_update
from storage.unit_writing import Fate, UnitSources, keep_blobs, write_units
from storage.units import ID_CONFLICT, UnitBook, overlap
from storage.usage import Attempt, add_usage, record_usage
from storage.vector_columns import VECTORS, VectorColumn, placed
from storage.writes import RowsOf, Writes

_SAID: Final = ("message_ids", "occurred_at", "recorded_at", *VECTORS, "session_ids")
_EVENTS: Final = RowsOf(
    events, *OWNER, *_SAID, "event_id", "summary", "tags", "profile_delta", "revision", "window_ids", "extractor"
)
_GISTS: Final = RowsOf(gists, *OWNER, *_SAID, "gist_id", "event_id", "number", "text", "quotes")


class ProfileMoved(Conflict):
    """Somebody changed the memory after it was read: roll back, read it again, and merge again."""


class UnitsMoved(Conflict):
    """A unit was applied or erased after the look-up: roll back, look up again, leave out what is done."""


@dataclass(frozen=True, slots=True)
class ParkedUnit:
    """A unit to park. `detail` says what is wrong and never quotes the record; `exception` is a class name."""

    unit: Unit
    reason: str
    detail: str
    attempts: int
    stage: str = "extract"
    exception: str | None = None


@dataclass(frozen=True, slots=True)
class Application:
    """Windows of one user that were extracted together, and what became of their units.

    `applied`, `parked` and `skipped` name every unit once, bisected ones by their pieces. `skipped` goes with the
    outcome of the look-up: `applied` (a duplicate), `erased`, or `parked` for one that just this delivery had
    parked before. `window_positions` are those on extraction-windows.
    """

    project_id: str
    user_id: str
    windows: tuple[Window, ...]
    read_revision: int
    update: MemoryUpdate
    applied: tuple[Unit, ...]
    parked: tuple[ParkedUnit, ...]
    skipped: tuple[tuple[Unit, str], ...]
    extractor: ExtractorIdentity
    window_positions: Mapping[UUID, Position]
    keep_blobs: bool = False
    # What made the update's embeddings; None is for a database of one model.
    embeds_by: EmbeddingModel | None = None
    # The generation of the shadow that it is for; None for live memory.
    shadow: int | None = None

    @property
    def has_units(self) -> bool:
        """Whether there is anything of the user's to write; else only the ledger is told."""
        return bool(self.applied or self.parked)


@dataclass(frozen=True, slots=True)
class AppliedResult:
    """What was written. `revision` is the user's afterwards, or the one that was read if only the ledger was."""

    revision: int
    profile_changes: int
    event_id: UUID | None
    gists: int
    dead_letters: int


async def apply(
    connection: AsyncConnection,
    application: Application,
    now: datetime,
    new_id: Callable[[], UUID],
    attempt: Attempt | None = None,
) -> AppliedResult:
    """Write everything that came of an extraction, and what the attempt has spent, inside the caller's transaction.

    Raises ProfileMoved if the user's revision is not `read_revision` any more and the update changes anything,
    and UnitsMoved if a unit is not open any more (or has pieces that are applied): the caller rolls back. What is for a
    shadow comes to its generation, and is not published; where that generation is live by now, nothing is written.
    """
    user = await _lock(connection, application, now) if application.has_units else None
    if user is None:
        if application.shadow is None:
            # All may be erased, and the user forgotten.
            await record_ledger(connection, _window_rows(application, now))
        if attempt is not None:
            await record_usage(connection, attempt)
        return AppliedResult(application.read_revision, 0, None, 0, 0)
    blob_ids = {unit.blob_id for unit in application.applied}
    blob_ids |= {item.unit.blob_id for item in application.parked}
    book = await look_up_units(connection, user.project_id, user.user_id, blob_ids, application.shadow)
    check_units(application, book)
    update = storable_update(application.update) if application.applied else MemoryUpdate()
    if user.revision != application.read_revision and not _is_empty(update):
        raise ProfileMoved(f"the memory is at revision {user.revision}, extraction read {application.read_revision}")

    writes, sources = Writes(), UnitSources(application.windows)
    parked = [item for item in application.parked if not book.parked_here(item.unit)]
    fates: list[Fate] = [(unit, "applied", None) for unit in application.applied]
    fates += [(item.unit, "parked", item.reason) for item in parked]
    await write_units(connection, writes, user, fates, book, sources, now)
    if application.keep_blobs and application.shadow is None:
        sent = [sources.find(unit)[0] for unit, _, _ in fates]
        await keep_blobs(connection, user, sent, now)

    outgoing = Outgoing(user.project_id, user.user_id, user.seq, now, new_id)
    result = await _write_memory(connection, writes, user, application, update, outgoing)
    result = replace(result, dead_letters=_add_dead_letters(parked, sources, outgoing))
    if application.shadow is None:
        add_rows(writes, outgoing.rows)
        add_ledger(writes, _window_rows(application, now))
        if attempt is not None:
            add_usage(writes, attempt, book.cut_off)
        add_counters(writes, user, revision=result.revision, seq=outgoing.seq, now=now)
        await writes.send(connection)
    else:
        letters = [row for row in outgoing.rows if row.aggregate_type == "dead-letters"]
        add_shadow_letters(writes, application.shadow, letters)
        add_shadow_windows(writes, application.shadow, _window_rows(application, now))
        await writes.send(connection)
        await count_shadow_on(connection, user, result.revision)
        if attempt is not None:
            await record_usage(connection, attempt)
    return result


async def _lock(connection: AsyncConnection, application: Application, now: datetime) -> LockedUser | None:
    if application.shadow is None:
        return await lock_user(connection, application.project_id, application.user_id, now)
    return await lock_shadow_user(connection, application.shadow, application.project_id, application.user_id)


def check_units(application: Application, book: UnitBook) -> None:
    """Raise UnitsMoved unless every unit to apply or to park is open still.

    Raises ValueError for units that overlap: `plan_units` tells them apart.
    """
    units = [*application.applied, *(item.unit for item in application.parked)]
    by_blob: dict[str, list[Unit]] = {}
    for unit in units:
        for other in by_blob.setdefault(unit.blob_id, []):
            if unit.content_hash == other.content_hash and overlap(unit.key, other.key):
                raise ValueError("an application names a unit twice")
        by_blob[unit.blob_id].append(unit)
    for unit in application.applied:
        if book.outcome(unit) not in ("new", "parked") or "applied" in book.pieces(unit).values():
            raise UnitsMoved("a unit to apply was applied or erased meanwhile")
    for item in application.parked:
        outcome = book.outcome(item.unit)
        if outcome in ("applied", "erased") or (outcome == "conflict" and item.reason != ID_CONFLICT):
            raise UnitsMoved("a unit to park was applied or erased meanwhile")


def _is_empty(update: MemoryUpdate) -> bool:
    return not update.changes and not _has_event(update)


def _has_event(update: MemoryUpdate) -> bool:
    extraction = update.extraction
    return bool(extraction.facts or extraction.gists or extraction.summary or extraction.tags)


async def _write_memory(
    connection: AsyncConnection,
    writes: Writes,
    user: LockedUser,
    application: Application,
    update: MemoryUpdate,
    outgoing: Outgoing,
) -> AppliedResult:
    revision = user.revision + 1
    window_ids = [window.window_id for window in application.windows]
    identity = asdict(application.extractor)
    before, column = await read_rows_and_column(connection, user, application.embeds_by)
    decided, after = decide_changes(before, update.changes, window_ids, outgoing.now, outgoing.new_id)
    await remove_entries(connection, decided)
    add_changes(
        writes,
        user,
        decided,
        revision=revision,
        extractor=identity,
        window_ids=window_ids,
        now=outgoing.now,
        embeddings=dict(update.extraction.slot_embeddings),
        vector_column=column,
    )
    published = [item for item in decided if item.is_published]
    for item in published:
        source = change_source(application.applied, window_ids, item.change.message_ids, application.extractor)
        outgoing.profile_changed(
            item.op,
            None if item.before is None else item.before.entry(),
            None if item.after is None else item.after.entry(),
            revision,
            source,
            _trace_of(application, item.change.message_ids),
        )
    event_id = None
    if _has_event(update):
        event_id = _add_event(writes, user, application, update, revision, outgoing, column)
    if decided:
        outgoing.profile_state(revision, [row.entry() for row in after], newest_trace(application.applied))
    return AppliedResult(
        revision=revision if decided or event_id else user.revision,
        profile_changes=len(published),
        event_id=event_id,
        gists=len(update.extraction.gists) if event_id else 0,
        dead_letters=0,
    )


def _add_event(
    writes: Writes,
    user: LockedUser,
    application: Application,
    update: MemoryUpdate,
    revision: int,
    outgoing: Outgoing,
    column: VectorColumn | None,
) -> UUID:
    extraction = update.extraction
    event_id, now = outgoing.new_id(), outgoing.now
    window_ids = [window.window_id for window in application.windows]
    cited = [identifier for fact in extraction.facts for identifier in fact.message_ids]
    cited += [identifier for gist in extraction.gists for identifier in gist.message_ids]
    message_ids = list(dict.fromkeys(cited))
    occurred_at = extraction.occurred_at or max(unit.occurred_at for unit in application.applied)
    row = {
        **user.owner,
        "event_id": event_id,
        "summary": extraction.summary,
        "tags": [{"tag": tag, "value": value} for tag, value in extraction.tags],
        "profile_delta": [
            {
                "content": fact.memo,
                "attributes": {"topic": fact.topic, "sub_topic": fact.sub_topic},
                "message_ids": fact.message_ids,
            }
            for fact in extraction.facts
        ],
        "revision": revision,
        "message_ids": message_ids,
        "window_ids": window_ids,
        "extractor": asdict(application.extractor),
        "occurred_at": occurred_at,
        "recorded_at": now,
        **placed(extraction.summary_embedding, column),
        "session_ids": _sessions(application, message_ids),
    }
    writes.add(_EVENTS, [row])
    writes.add(
        _GISTS,
        (
            {
                **user.owner,
                "gist_id": outgoing.new_id(),
                "event_id": event_id,
                "number": number,
                "text": gist.text,
                "message_ids": gist.message_ids,
                "quotes": quotes_to_json([gist.quote] if gist.quote else []),
                "occurred_at": gist.occurred_at,
                "recorded_at": now,
                **placed(gist.embedding, column),
                "session_ids": _sessions(application, gist.message_ids),
            }
            for number, gist in enumerate(extraction.gists)
        ),
    )
    event = Event(
        id=event_id,
        summary=extraction.summary,
        tags=[EventTag(tag=tag, value=value) for tag, value in extraction.tags],
        gists=[
            EventGist(text=gist.text, message_ids=gist.message_ids, occurred_at=rfc3339(gist.occurred_at))
            for gist in extraction.gists
        ],
        occurred_at=rfc3339(occurred_at),
        recorded_at=rfc3339(now),
        message_ids=message_ids,
    )
    source = change_source(application.applied, window_ids, message_ids, application.extractor)
    outgoing.event_changed("c", None, event, revision, source, _trace_of(application, message_ids))
    return event_id


def _trace_of(application: Application, message_ids: Iterable[str]) -> Trace:
    """The trace of the newest of these messages that stands in one."""
    blob_ids = {identifier.rpartition("/")[0] for identifier in message_ids}
    return newest_trace(unit for unit in application.applied if unit.blob_id in blob_ids)


def _sessions(application: Application, message_ids: Collection[str]) -> list[str]:
    return [storable(name) for name in sessions_of(application.applied, message_ids)]


def _add_dead_letters(parked: list[ParkedUnit], sources: UnitSources, outgoing: Outgoing) -> int:
    """One for each unit that a window held and for each reason, with the pieces that are parked."""
    groups: dict[tuple[object, str], tuple[Unit, list[ParkedUnit]]] = {}
    for item in parked:
        sent, _ = sources.find(item.unit)
        groups.setdefault(((sent.key, sent.position), item.reason), (sent, []))[1].append(item)
    for sent, items in groups.values():
        outgoing.dead_letter(
            sent,
            [(item.unit.message_index, item.unit.part) for item in items],
            stage=items[0].stage,
            reason=items[0].reason,
            detail=items[0].detail,
            attempts=max(item.attempts for item in items),
            exception=items[0].exception,
        )
    return len(groups)


def _window_rows(application: Application, now: datetime) -> list[LedgerRow]:
    """A row a window, for the ledger."""
    sources = UnitSources(application.windows)
    words: dict[UUID | None, Counter[str]] = {}
    fates = [(unit, "applied") for unit in application.applied]
    fates += [(item.unit, "parked") for item in application.parked]
    fates += [(unit, "duplicate" if word == "applied" else word) for unit, word in application.skipped]
    for unit, word in fates:
        words.setdefault(sources.find(unit)[1], Counter())[word] += 1
    rows = []
    for window in application.windows:
        found = words.get(window.window_id, Counter())
        counts = UnitCounts(found["applied"], found["parked"], found["duplicate"], found["erased"])
        position = application.window_positions[window.window_id]
        rows.append(window_row(window, position, counts, now))
    return rows
