"""Profiles and events from Postgres, for a person or a script."""

from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from typing import Any

from rich.console import RenderableType
from rich.padding import Padding
from rich.text import Text
from sqlalchemy.ext.asyncio import AsyncConnection

from cli.console import note, out, plain_table, print_json, printable, short_time
from cli.watching import sources
from schemas.errors import NotFound
from schemas.memory import Profile
from schemas.settings import Settings, StorageSettings
from storage.browsing import EventRow, read_events, read_history
from storage.database import create_engine
from storage.errors import translated
from storage.reading import read_profile

OFFLINE_NOTE = "Taken by the offline extractor (rules, no model)."


@asynccontextmanager
async def connected(storage: StorageSettings) -> AsyncIterator[AsyncConnection]:
    """A connection that is closed on leaving; raises RetryLater if Postgres is away."""
    engine = create_engine(storage)
    try:
        with translated("reading memory"):
            async with engine.connect() as connection:
                yield connection
    finally:
        await engine.dispose()


async def show_profile(settings: Settings, project_id: str, user_id: str, *, as_json: bool) -> None:
    """Print a profile; raises NotFound for a user of whom nothing is known."""
    async with connected(settings.storage) as connection:
        profile = await read_profile(connection, project_id, user_id)
        extractor = await latest_extractor(connection, project_id, user_id)
    if profile.revision == 0 and not profile.slots:
        raise NotFound(f"nothing is remembered of {user_id} in project {project_id}")
    if as_json:
        print_json(profile_document(profile, project_id, user_id, extractor))
        return
    console = out()
    console.print(Text.assemble((printable(user_id), "bold"), (f"  revision {profile.revision}", "dim")))
    console.print(profile_view(profile))
    if is_offline(extractor):
        note(OFFLINE_NOTE)


async def show_events(settings: Settings, project_id: str, user_id: str, *, limit: int, as_json: bool) -> None:
    """Print the newest events, oldest first; raises NotFound if there are none."""
    async with connected(settings.storage) as connection:
        found = await read_events(connection, project_id, user_id, limit)
        extractor = await latest_extractor(connection, project_id, user_id)
    if not found:
        raise NotFound(f"no event is remembered of {user_id} in project {project_id}")
    console = out()
    for event in reversed(found):
        if as_json:
            print_json(event_document(event))
        else:
            console.print(event_view(event))
    if not as_json and is_offline(extractor):
        note(OFFLINE_NOTE)


async def latest_extractor(connection: AsyncConnection, project_id: str, user_id: str) -> Mapping[str, str] | None:
    """Who made the user's last profile change; None for a hand edit, or where there is no change."""
    history = await read_history(connection, project_id, user_id, limit=1)
    return history[0].extractor if history else None


def is_offline(extractor: Mapping[str, str] | None) -> bool:
    return extractor is not None and extractor.get("name") == "offline"


def profile_view(profile: Profile) -> RenderableType:
    """A table of facts, each with when it was said and the messages that it came from."""
    if not profile.slots:
        return Padding(Text("no facts yet", "dim"), (0, 0, 0, 2))
    table = plain_table("topic", "fact", "said", "from messages")
    table.columns[0].min_width = max(len(f"{slot.topic}/{slot.sub_topic}") for slot in profile.slots)
    for slot in profile.slots:
        table.add_row(
            Text(printable(f"{slot.topic}/{slot.sub_topic}"), "cyan", no_wrap=True),
            Text(printable(slot.content), overflow="fold"),
            Text(slot.occurred_at.strftime("%Y-%m-%d"), "dim", no_wrap=True),
            Text(printable(", ".join(slot.message_ids)), "dim", overflow="fold"),
        )
    return table


def profile_document(
    profile: Profile, project_id: str, user_id: str, extractor: Mapping[str, str] | None
) -> dict[str, Any]:
    """A profile for a script."""
    return {
        "project_id": project_id,
        "user_id": user_id,
        "revision": profile.revision,
        "extractor": extractor,
        "entries": [
            {
                "id": slot.profile_id,
                "topic": slot.topic,
                "sub_topic": slot.sub_topic,
                "content": slot.content,
                "occurred_at": slot.occurred_at,
                "update_hits": slot.update_hits,
                "message_ids": slot.message_ids,
            }
            for slot in profile.slots
        ],
    }


def event_view(event: EventRow) -> Text:
    """When, the summary, and a line for each gist."""
    gists = [gist.text for gist in event.gists]
    lines = [event.summary, *gists] if event.summary else gists
    text = Text.assemble((f"{short_time(event.occurred_at)}  ", "dim"))
    tags = " ".join(f"#{tag['tag']}:{tag['value']}" for tag in event.tags)
    text.append(printable(lines[0] if lines else tags or "(nothing)"), "bold" if event.summary else "")
    text += sources(event.message_ids)
    for line in lines[1:]:
        text.append(f"\n    - {printable(line)}")
    if tags and lines:
        text.append(f"\n    {printable(tags)}", "magenta")
    return text


def event_document(event: EventRow) -> dict[str, Any]:
    """An event for a script."""
    return {
        "id": event.event_id,
        "occurred_at": event.occurred_at,
        "summary": event.summary,
        "gists": [gist.text for gist in event.gists],
        "tags": event.tags,
        "message_ids": event.message_ids,
    }
