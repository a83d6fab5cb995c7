"""Units, windows and updates as tests need them: short, with the values that matter as arguments."""

from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any
from uuid import uuid4

import numpy as np
from sqlalchemy import Table, func, select
from sqlalchemy.ext.asyncio import AsyncEngine

from schemas import identity
from schemas.memory import (
    ChangeOp,
    Extraction,
    ExtractorIdentity,
    Fact,
    Gist,
    MemoryUpdate,
    SlotChange,
    Usage,
)
from schemas.records import Command
from schemas.windows import MessageId, Position, Unit, Window, WindowCommand
from storage.applying import Application, AppliedResult, ParkedUnit, apply
from storage.outbox import OutboxRow, outbox_row
from storage.reading import read_profile
from storage.tables import outbox

NOW = datetime(2026, 11, 20, 12, 0, tzinfo=UTC)
NOW_MS = int(NOW.timestamp() * 1000)
EXTRACTOR = ExtractorIdentity("offline", "1", "rules", "0000")
DIMENSION = 256


def position(offset: int, topic: str = "chat-messages", timestamp_ms: int = NOW_MS - 1000) -> Position:
    return Position(topic=topic, partition=0, offset=offset, timestamp_ms=timestamp_ms)


def unit(blob_id: str, offset: int = 0, text: str = "I moved to Oslo", **more: Any) -> Unit:
    content = {"blob_type": "chat", "blob_data": {"messages": [{"role": "user", "content": text}]}}
    values: dict[str, Any] = {
        "blob_id": blob_id,
        "content_hash": identity.content_hash(content),
        "token_count": 5,
        "occurred_at_ms": NOW_MS - 5000,
        "recorded_at_ms": NOW_MS - 1000,
        "position": position(offset),
        "content": content,
    }
    return Unit(**(values | more))


def piece(whole: Unit, message_index: int, part: int | None = None) -> Unit:
    return whole.model_copy(update={"message_index": message_index, "part": part})


def window(*units: Unit, project_id: str = "default", user_id: str = "ann") -> Window:
    return Window(
        window_id=identity.window_id(project_id, user_id, [item.key for item in units]),
        project_id=project_id,
        user_id=user_id,
        blob_type="chat",
        reason="tokens",
        token_count=sum(item.token_count for item in units),
        units=list(units),
    )


def change(
    sub_topic: str, before: str | None, after: str | None, *, topic: str = "work", message_id: str = "b1/0"
) -> SlotChange:
    op: ChangeOp = "c" if before is None else "d" if after is None else "u"
    return SlotChange(op, topic, sub_topic, before, after, "test", (MessageId(message_id),), NOW)


def update(*changes: SlotChange, gists: Sequence[str] = (), summary: str | None = None) -> MemoryUpdate:
    embedding = np.zeros(DIMENSION, dtype=np.float32)
    embedding[0] = 1.0
    facts = tuple(Fact(item.topic, item.sub_topic, item.after, item.message_ids, NOW) for item in changes if item.after)
    extraction = Extraction(
        facts=facts,
        gists=tuple(Gist(text, (MessageId("b1/0"),), NOW, embedding) for text in gists),
        summary=summary,
        tags=(("mood", "glad"),) if summary else (),
        summary_embedding=embedding if summary else None,
    )
    return MemoryUpdate(changes, extraction, Usage(completions=2, prompt_tokens=100))


def application(
    *windows: Window,
    read_revision: int = 0,
    memory: MemoryUpdate | None = None,
    applied: Sequence[Unit] | None = None,
    parked: Sequence[ParkedUnit] = (),
    skipped: Sequence[tuple[Unit, str]] = (),
    keep_blobs: bool = False,
) -> Application:
    """Without `applied`, all units of the windows are."""
    everything = tuple(item for one in windows for item in one.units)
    return Application(
        project_id=windows[0].project_id,
        user_id=windows[0].user_id,
        windows=windows,
        read_revision=read_revision,
        update=memory or MemoryUpdate(),
        applied=everything if applied is None else tuple(applied),
        parked=tuple(parked),
        skipped=tuple(skipped),
        extractor=EXTRACTOR,
        window_positions={
            one.window_id: position(100 + number, "extraction-windows") for number, one in enumerate(windows)
        },
        keep_blobs=keep_blobs,
    )


def command(
    word: str = "flush", *, offset: int = 50, user_id: str = "ann", timestamp_ms: int = NOW_MS
) -> WindowCommand:
    return WindowCommand(
        command=Command.model_validate({"command": word, "user_id": user_id}),
        command_id=f"command-{offset}",
        position=position(offset, timestamp_ms=timestamp_ms),
        window_ids=[],
    )


async def apply_once(engine: AsyncEngine, wanted: Application, now: datetime = NOW) -> AppliedResult:
    async with engine.begin() as connection:
        return await apply(connection, wanted, now, uuid4)


async def remember(
    engine: AsyncEngine,
    blob_id: str,
    content: str,
    *,
    project_id: str = "default",
    user_id: str = "ann",
    offset: int = 0,
) -> AppliedResult:
    """Apply one window that sets `work/company`, on whatever revision is there."""
    async with engine.connect() as connection:
        profile = await read_profile(connection, project_id, user_id)
    slot = profile.slot("work", "company")
    memory = update(change("company", slot.content if slot else None, content, message_id=f"{blob_id}/0"))
    wanted = application(
        window(unit(blob_id, offset), project_id=project_id, user_id=user_id),
        read_revision=profile.revision,
        memory=memory,
    )
    return await apply_once(engine, wanted)


async def rows_of(engine: AsyncEngine, table: Table, *columns: str) -> list[Any]:
    """All rows of a table, or of some columns, sorted."""
    wanted = [table.c[name] for name in columns] if columns else list(table.c)
    async with engine.connect() as connection:
        return sorted((await connection.execute(select(*wanted))).all(), key=repr)


async def count_of(engine: AsyncEngine, table: Table) -> int:
    async with engine.connect() as connection:
        return int(await connection.scalar(select(func.count()).select_from(table)) or 0)


async def outbox_rows(engine: AsyncEngine) -> list[OutboxRow]:
    """All that waits to be published, in the order of commits."""
    async with engine.connect() as connection:
        found = await connection.execute(select(outbox).order_by(outbox.c.number))
        return [outbox_row(row) for row in found.mappings()]
