"""Rows of a shadow, as its workers write them."""

from collections.abc import Mapping
from dataclasses import asdict, replace
from typing import Any

from sqlalchemy import insert
from sqlalchemy.ext.asyncio import AsyncEngine

from storage.applying import Application, AppliedResult
from storage.reading import read_profile
from storage.shadow_tables import shadows
from tests.integration.storage.builders import EXTRACTOR, NOW, apply_once

OTHER = replace(EXTRACTOR, version="2")


async def seed_shadow(engine: AsyncEngine, name: str = "better", **values: Any) -> int:
    """A shadow of a whole `chat-messages`, and its generation."""
    row: Mapping[str, Any] = {
        "name": name,
        "topic_prefix": "",
        "source": "chat-messages",
        "begin_offsets": {"0": 0},
        "extractor": asdict(OTHER),
        "state": "running",
        "created_at": NOW,
        **values,
    }
    async with engine.begin() as connection:
        return int(await connection.scalar(insert(shadows).values(row).returning(shadows.c.generation)) or 0)


async def apply_in_shadow(engine: AsyncEngine, generation: int, wanted: Application) -> AppliedResult:
    """Apply windows in the shadow, on whatever revision is there."""
    async with engine.connect() as connection:
        profile = await read_profile(connection, wanted.project_id, wanted.user_id, generation)
    there = replace(wanted, shadow=generation, read_revision=profile.revision, extractor=OTHER)
    return await apply_once(engine, there)
