"""A shadow that this process works for: what it reads, and its row, which is looked at again and again."""

import asyncio
from collections.abc import Callable
from decimal import Decimal
from typing import Final

import structlog
from sqlalchemy.ext.asyncio import AsyncEngine

from schemas.errors import RetryLater
from schemas.identity import content_hash
from schemas.windows import Position, Window, WindowCommand
from storage.errors import translated
from storage.shadows import Shadow, is_in_range, note_closed_tails, read_shadow
from storage.text import epoch_ms
from streams.rate import Rate
from streams.shadow_buffer import ShadowBuffer
from streams.shadow_topics import ShadowTopics, shadow_topics

LOOK_S: Final = 1.0

log = structlog.get_logger()


def user_filter(user_id: str) -> str:
    """What a shadow keeps of the one user that it is made for: SHA-256 of the id, hex."""
    return content_hash([user_id])


def topics_of(shadow: Shadow) -> ShadowTopics:
    """The topics and groups of a shadow."""
    return shadow_topics(shadow.topic_prefix, shadow.name, shadow.source)


class RunningShadow:
    """`rate_per_s` bounds the records that this process takes of the topic that the shadow is made from."""

    def __init__(self, shadow: Shadow, rate_per_s: float | None = None) -> None:
        self.shadow = shadow
        self.topics = topics_of(shadow)
        self._rate = Rate(rate_per_s)
        self.buffer: ShadowBuffer | None = None
        if shadow.source == "chat-messages":
            self.buffer = ShadowBuffer(
                self.topics, shadow.begin_offsets, shadow.end_offsets, self._takes_user, self._rate.keep
            )
        self._see(shadow)

    def takes(self, record: Window | WindowCommand, position: Position) -> bool:
        """Whether a record of its extraction-windows is extracted: of its own all, of the live ones those in range."""
        if self.buffer is not None:
            return True
        begin, end = self.shadow.begin_offsets, self.shadow.end_offsets
        is_read = is_in_range(begin, end, position.partition, position.offset)
        return is_read and self._takes_user(record.project_id, record.user_id)

    async def pace(self) -> None:
        """Before a record of its extraction-windows is taken."""
        if self.buffer is None:
            await self._rate.keep(1)

    def max_cost(self) -> Decimal | None:
        return self.shadow.max_cost

    async def watch(self, engine: AsyncEngine, gone: Callable[[], None]) -> None:
        """Follow its row until cancelled, and call `gone` once there is nothing left to work for."""
        was_refused = False
        while True:
            try:
                shadow = await self._look(engine)
                was_refused = False
            except RetryLater as error:
                if not was_refused:
                    log.warning("shadow.not_looked_at", shadow=self.shadow.name, reason=str(error))
                was_refused = True
            else:
                if shadow is None or shadow.state == "promoted":
                    log.info("shadow.ended", shadow=self.shadow.name, state=None if shadow is None else shadow.state)
                    gone()
                    return
                self._see(shadow)
            await asyncio.sleep(LOOK_S)

    async def _look(self, engine: AsyncEngine) -> Shadow | None:
        with translated("looking at a shadow"):
            async with engine.begin() as connection:
                shadow = await read_shadow(connection, self.shadow.topic_prefix, self.shadow.name)
                if shadow is None or shadow.generation != self.shadow.generation:
                    return None
                if self.buffer is not None:
                    news = self.buffer.news(shadow.tails_closed)
                    if news:
                        await note_closed_tails(connection, shadow.generation, news)
        return shadow

    def _see(self, shadow: Shadow) -> None:
        self.shadow = shadow
        if self.buffer is not None and shadow.tails_before is not None:
            self.buffer.tails_before_ms = epoch_ms(shadow.tails_before)

    def _takes_user(self, project_id: str, user_id: str) -> bool:
        if self.shadow.of_project not in (None, project_id):
            return False
        return self.shadow.of_user_hash is None or user_filter(user_id) == self.shadow.of_user_hash
