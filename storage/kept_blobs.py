"""Texts of messages that Postgres keeps, where `persistent_chat_blobs` asked for it."""

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import orjson
from sqlalchemy import ARRAY, Text, bindparam, func, select
from sqlalchemy.ext.asyncio import AsyncConnection

from storage.tables import blobs


@dataclass(frozen=True, slots=True)
class KeptPiece:
    """A kept unit. `message_index` and `part` are -1 where it is not split that far; `content` is that of a unit."""

    blob_id: str
    message_index: int
    part: int
    content: Mapping[str, Any]
    occurred_at: datetime


async def read_kept_blobs(
    connection: AsyncConnection, project_id: str, user_id: str, blob_ids: Collection[str]
) -> dict[str, tuple[KeptPiece, ...]]:
    """What is kept of these blobs, the pieces of each in their order."""
    query = (
        select(blobs)
        .where(
            blobs.c.project_id == project_id,
            blobs.c.user_id == user_id,
            blobs.c.blob_id == func.any(bindparam("blob_ids", list(set(blob_ids)), ARRAY(Text))),
        )
        .order_by(blobs.c.blob_id, blobs.c.message_index, blobs.c.part)
    )
    found: dict[str, list[KeptPiece]] = {}
    for row in (await connection.execute(query)).all():
        piece = KeptPiece(row.blob_id, row.message_index, row.part, orjson.loads(row.content), row.occurred_at)
        found.setdefault(row.blob_id, []).append(piece)
    return {blob_id: tuple(pieces) for blob_id, pieces in found.items()}
