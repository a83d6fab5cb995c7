"""`memostream why`: what a fact or an event was taken from, down to the words."""

from collections.abc import Collection
from uuid import UUID

from sqlalchemy.ext.asyncio import AsyncConnection

from cli.console import note, out, print_json
from cli.showing import OFFLINE_NOTE, connected, is_offline
from cli.why_chain import (
    Evidence,
    SlotChain,
    joined_into,
    link_changes,
    link_event,
    nearest_slots,
    slot_history,
    sought_blobs,
)
from cli.why_view import event_document, event_view, slot_document, slot_view
from schemas.errors import NotFound
from schemas.profile_schema import unify_name
from schemas.settings import Settings
from storage.browsing import HistoryRow, read_event, read_history, read_profile_entries
from storage.kept_blobs import read_kept_blobs
from storage.reading import look_up_units
from streams.message_reader import read_blobs


async def show_slot(
    settings: Settings,
    project_id: str,
    user_id: str,
    topic: str,
    sub_topic: str,
    *,
    limit: int,
    with_text: bool,
    as_json: bool,
) -> None:
    """Print what led to a slot's value, at most `limit` changes; raises NotFound for a slot that never was."""
    async with connected(settings.storage) as connection:
        topic, sub_topic, history = await _find_slot(connection, project_id, user_id, topic, sub_topic)
        entries = await read_profile_entries(connection, project_id, user_id)
    rows = slot_history(history, sub_topic)
    shown = rows[:limit]
    evidence = await _evidence(
        settings, project_id, user_id, {name for row in shown for name in row.message_ids}, with_text=with_text
    )
    current = next((entry for entry in entries if (entry.topic, entry.sub_topic) == (topic, sub_topic)), None)
    chain = SlotChain(
        project_id=project_id,
        user_id=user_id,
        topic=topic,
        sub_topic=sub_topic,
        current=current,
        changes=link_changes(shown, evidence),
        older=len(rows) - len(shown),
        joined_into=None if current else joined_into(history, sub_topic),
    )
    if as_json:
        print_json(slot_document(chain))
        return
    out().print(slot_view(chain))
    if shown and is_offline(shown[0].extractor):
        note(OFFLINE_NOTE)


async def show_event(
    settings: Settings, project_id: str, user_id: str, event_id: UUID, *, with_text: bool, as_json: bool
) -> None:
    """Print what an event was taken from; raises NotFound if the user has no such event."""
    async with connected(settings.storage) as connection:
        event = await read_event(connection, project_id, user_id, event_id)
    if event is None:
        raise NotFound(f"{user_id} in project {project_id} has no event {event_id}; `memostream events` lists them")
    evidence = await _evidence(settings, project_id, user_id, set(event.message_ids), with_text=with_text)
    chain = link_event(project_id, user_id, event, evidence)
    if as_json:
        print_json(event_document(chain))
        return
    out().print(event_view(chain))
    if is_offline(event.extractor):
        note(OFFLINE_NOTE)


async def _find_slot(
    connection: AsyncConnection, project_id: str, user_id: str, topic: str, sub_topic: str
) -> tuple[str, str, list[HistoryRow]]:
    """The slot by its name as given, or as profiles write names, and the history of its topic."""
    for one, other in dict.fromkeys([(topic, sub_topic), (_unified(topic), _unified(sub_topic))]):
        history = await read_history(connection, project_id, user_id, topic=one)
        if any(row.sub_topic == other for row in history):
            return one, other, history
    known = {(row.topic, row.sub_topic) for row in await read_history(connection, project_id, user_id)}
    if not known:
        raise NotFound(f"nothing is remembered of {user_id} in project {project_id}")
    nearest = ", ".join(nearest_slots(_unified(topic), _unified(sub_topic), known))
    raise NotFound(f"{user_id} has never had {topic}/{sub_topic}; the nearest slots are: {nearest}")


async def _evidence(
    settings: Settings, project_id: str, user_id: str, message_ids: Collection[str], *, with_text: bool
) -> Evidence:
    blob_ids = {message_id.rpartition("/")[0] for message_id in message_ids}
    async with connected(settings.storage) as connection:
        book = await look_up_units(connection, project_id, user_id, blob_ids)
        if not with_text:
            return Evidence(book, {}, {}, asked=False)
        kept = await read_kept_blobs(connection, project_id, user_id, blob_ids)
    sought = sought_blobs(message_ids, book, kept)
    # Not while a connection is held: a broker that is away is waited for.
    found = await read_blobs(settings.kafka, sought.values())
    return Evidence(book, kept, {blob_id: found[blob] for blob_id, blob in sought.items()})


def _unified(name: str) -> str:
    try:
        return unify_name(name)
    except ValueError:
        return name
