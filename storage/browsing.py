"""Memory as people look at it: profile entries, history, events, users; never the vectors."""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final
from uuid import UUID

from sqlalchemy import Select, Text, cast, func, literal, select
from sqlalchemy.dialects.postgresql import JSONB
from sqlalchemy.ext.asyncio import AsyncConnection

from schemas.changes import Event, EventGist, EventTag
from schemas.memory import Quote
from storage.columns import LIVE_GENERATION, without_search
from storage.profile_writing import ProfileRow, profile_row
from storage.tables import events, gists, profile_history, profiles, users
from storage.text import quotes_from_json, rfc3339

_EVENT_COLUMNS: Final = without_search(events)
_GIST_COLUMNS: Final = without_search(gists)


@dataclass(frozen=True, slots=True)
class HistoryRow:
    """One change of one slot; `before` is None where it began, `after` where it ended.

    `joined` are sub_topics of the same topic that were deleted with this change, for it took their content over.
    """

    history_id: int
    profile_id: UUID
    topic: str
    sub_topic: str
    op: str
    before: str | None
    after: str | None
    why: str
    revision: int
    message_ids: tuple[str, ...]
    window_ids: tuple[UUID, ...]
    extractor: Mapping[str, str] | None
    occurred_at: datetime
    recorded_at: datetime
    quotes: tuple[Quote, ...] = ()
    joined: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class GistRow:
    """One line of an event."""

    gist_id: UUID
    text: str
    message_ids: tuple[str, ...]
    occurred_at: datetime
    quotes: tuple[Quote, ...] = ()


@dataclass(frozen=True, slots=True)
class EventRow:
    """An event with its gists. `tags` and `profile_delta` are in Memobase's shapes."""

    event_id: UUID
    summary: str | None
    tags: Sequence[Mapping[str, str]]
    profile_delta: Sequence[Mapping[str, Any]]
    gists: tuple[GistRow, ...]
    revision: int
    message_ids: tuple[str, ...]
    window_ids: tuple[UUID, ...]
    extractor: Mapping[str, str] | None
    occurred_at: datetime
    recorded_at: datetime
    # By hand; None where nobody has.
    updated_at: datetime | None = None

    def published(self) -> Event:
        """As it is published."""
        return Event(
            id=self.event_id,
            summary=self.summary,
            tags=[EventTag(tag=item["tag"], value=item["value"]) for item in self.tags],
            gists=[
                EventGist(text=gist.text, message_ids=gist.message_ids, occurred_at=rfc3339(gist.occurred_at))
                for gist in self.gists
            ],
            occurred_at=rfc3339(self.occurred_at),
            recorded_at=rfc3339(self.recorded_at),
            message_ids=self.message_ids,
        )


async def read_profile_entries(connection: AsyncConnection, project_id: str, user_id: str) -> list[ProfileRow]:
    """The live profile, by topic and sub-topic; empty for a user never seen."""
    query = _live(select(*without_search(profiles)), profiles, project_id, user_id).order_by(
        profiles.c.topic, profiles.c.sub_topic
    )
    return [profile_row(row) for row in (await connection.execute(query)).mappings()]


async def read_history(
    connection: AsyncConnection,
    project_id: str,
    user_id: str,
    *,
    topic: str | None = None,
    until: datetime | None = None,
    limit: int | None = None,
) -> list[HistoryRow]:
    """Changes of the live profile or of one topic of it, the newest first; with `until`, those recorded up to then."""
    query = _live(select(profile_history), profile_history, project_id, user_id)
    if until is not None:
        query = query.where(profile_history.c.recorded_at <= until)
    if topic is not None:
        query = query.where(profile_history.c.topic == topic)
    query = query.order_by(profile_history.c.history_id.desc()).limit(limit)
    return [_history_row(row) for row in (await connection.execute(query)).all()]


async def read_profile_history(
    connection: AsyncConnection,
    project_id: str,
    user_id: str,
    profile_ids: Collection[UUID],
    *,
    generation: int | None = None,
) -> dict[UUID, list[HistoryRow]]:
    """All that has happened to these entries of the profile, live or of a `generation`, the oldest change first."""
    found: dict[UUID, list[HistoryRow]] = {}
    if profile_ids:
        query = _live(select(profile_history), profile_history, project_id, user_id, generation)
        query = query.where(profile_history.c.profile_id.in_(list(profile_ids))).order_by(profile_history.c.history_id)
        for row in (await connection.execute(query)).all():
            found.setdefault(row.profile_id, []).append(_history_row(row))
    return found


async def read_events(
    connection: AsyncConnection,
    project_id: str,
    user_id: str,
    limit: int | None,
    *,
    since: datetime | None = None,
    tags: str | None = None,
    generation: int | None = None,
) -> list[EventRow]:
    """The latest events, the newest first, with their gists in order; with `since`, those recorded from then on.
    All of them without a `limit`; of live memory without a `generation`.

    `tags` is JSON that the tags of an event must contain.
    """
    query = _live(select(*_EVENT_COLUMNS), events, project_id, user_id, generation)
    if since is not None:
        query = query.where(events.c.recorded_at >= since)
    if tags is not None:
        query = query.where(events.c.tags.op("@>")(cast(literal(tags, Text), JSONB)))
    return await _read_events(connection, query.order_by(events.c.recorded_at.desc(), events.c.event_id).limit(limit))


async def read_event(
    connection: AsyncConnection, project_id: str, user_id: str, event_id: UUID, *, generation: int | None = None
) -> EventRow | None:
    """One event of the user's memory, live or of a `generation`, with its gists in order."""
    query = _live(select(*_EVENT_COLUMNS), events, project_id, user_id, generation)
    return next(iter(await _read_events(connection, query.where(events.c.event_id == event_id))), None)


async def read_events_of(
    connection: AsyncConnection, project_id: str, user_id: str, event_ids: Sequence[UUID]
) -> dict[UUID, EventRow]:
    """Those of these events that are in the user's live memory, with their gists in order."""
    query = _live(select(*_EVENT_COLUMNS), events, project_id, user_id).where(events.c.event_id.in_(event_ids))
    return {event.event_id: event for event in await _read_events(connection, query)} if event_ids else {}


def _history_row(row: Any) -> HistoryRow:
    return HistoryRow(
        history_id=row.history_id,
        profile_id=row.profile_id,
        topic=row.topic,
        sub_topic=row.sub_topic,
        op=row.op,
        before=row.before,
        after=row.after,
        why=row.why,
        revision=row.revision,
        message_ids=tuple(row.message_ids),
        window_ids=tuple(row.window_ids),
        extractor=row.extractor,
        occurred_at=row.occurred_at,
        recorded_at=row.recorded_at,
        quotes=quotes_from_json(row.quotes),
        joined=tuple(row.joined),
    )


async def _read_events(connection: AsyncConnection, query: Select[Any]) -> list[EventRow]:
    rows = (await connection.execute(query)).all()
    of_event: dict[UUID, list[GistRow]] = {}
    if rows:
        gist_query = (
            select(*_GIST_COLUMNS)
            .where(gists.c.event_id.in_([row.event_id for row in rows]))
            .order_by(gists.c.event_id, gists.c.number)
        )
        for gist in (await connection.execute(gist_query)).all():
            quotes = quotes_from_json(gist.quotes)
            value = GistRow(gist.gist_id, gist.text, tuple(gist.message_ids), gist.occurred_at, quotes)
            of_event.setdefault(gist.event_id, []).append(value)
    return [
        EventRow(
            event_id=row.event_id,
            summary=row.summary,
            tags=row.tags,
            profile_delta=row.profile_delta,
            gists=tuple(of_event.get(row.event_id, ())),
            revision=row.revision,
            message_ids=tuple(row.message_ids),
            window_ids=tuple(row.window_ids),
            extractor=row.extractor,
            occurred_at=row.occurred_at,
            recorded_at=row.recorded_at,
            updated_at=row.updated_at,
        )
        for row in rows
    ]


def _live(query: Select[Any], table: Any, project_id: str, user_id: str, generation: int | None = None) -> Select[Any]:
    of_user = (users.c.project_id == project_id, users.c.user_id == user_id)
    live = select(users.c.live_generation).where(*of_user).scalar_subquery()
    return query.where(
        table.c.project_id == project_id,
        table.c.user_id == user_id,
        table.c.generation == (func.coalesce(live, LIVE_GENERATION) if generation is None else generation),
    )
