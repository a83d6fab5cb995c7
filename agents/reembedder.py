"""Embeds a whole database by another model, beside the one in use, with several calls at a time."""

import asyncio
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from typing import Final

import structlog
from sqlalchemy.ext.asyncio import AsyncConnection

from agents.dependencies import ReembeddingDeps
from agents.embedding_filler import BATCH_ROWS, CLAIM_S, RETRY_S, EmbeddingFiller
from extraction.protocol import Embedder
from schemas.errors import RetryLater
from storage.errors import translated
from storage.reembedding import say_ready
from storage.reembedding_progress import count_missing, count_texts
from storage.usage import REEMBEDDED
from storage.vector_columns import TO_FOLLOW, vector_column

log = structlog.get_logger()

# What is written while nothing is missing waits for so long.
POLL_S: Final = 1.0
# Of a busy database there is always something that was written just now: up to a thousandth, and no more than this.
MAX_TAIL: Final = 100


def tail_of(texts: int) -> int:
    """How many of so many texts may be missing where all are said to be embedded: those of the last second or so."""
    return min(MAX_TAIL, texts // 1000)


async def is_complete(connection: AsyncConnection, now: datetime) -> bool:
    """Whether all is embedded by the model that is to follow, but for what was written just now."""
    missing = await count_missing(connection, now, CLAIM_S)
    return missing == 0 or (missing <= MAX_TAIL and missing <= tail_of(await count_texts(connection)))


@dataclass(slots=True)
class Pace:
    """Lets `rate` texts begin in a second, None for any number."""

    rate: float | None
    due_s: float = 0.0

    def delay_s(self, texts: int, now_s: float) -> float:
        """How long to wait after so many texts."""
        if self.rate is None:
            return 0.0
        self.due_s = max(self.due_s, now_s) + texts / self.rate
        return self.due_s - now_s


class Reembedder:
    """One of any number that may run at a time; each row is claimed by one of them.

    `said_ready` is called once when processes may start with the model.
    """

    def __init__(
        self,
        deps: ReembeddingDeps,
        embedder: Embedder,
        *,
        concurrency: int,
        rate: float | None,
        said_ready: Callable[[], None],
    ) -> None:
        self._deps = deps
        self._embedder = embedder
        self._concurrency = concurrency
        self._pace = Pace(rate)
        self._said_ready = said_ready
        self._is_ready = False

    async def run(self, *, until_ready: bool) -> bool:
        """Until the database has gone on to the model, or away from it; `until_ready` until nothing is missing.

        False where the model was abandoned. Raises what is not to be waited for.
        """
        tasks = [asyncio.create_task(self._fill(until_ready)) for _ in range(self._concurrency)]
        try:
            return all(await asyncio.gather(*tasks))
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.wait(tasks)

    async def _fill(self, until_ready: bool) -> bool:
        filler = EmbeddingFiller(self._deps, self._embedder, counts_as=REEMBEDDED)
        monotonic, sleep = self._deps.clock.monotonic, self._deps.clock.sleep
        while True:
            try:
                rows = await filler.fill_some()
                if filler.column != TO_FOLLOW:
                    return filler.column is not None
                if rows < BATCH_ROWS and await self._look() and until_ready:
                    return True
                pause_s = self._pace.delay_s(rows, monotonic())
                if rows < BATCH_ROWS:
                    pause_s = max(pause_s, POLL_S)
            except RetryLater as error:
                log.warning("embeddings.put_off", reason=str(error))
                pause_s = max(RETRY_S, error.delay_s)
            await sleep(pause_s)

    async def _look(self) -> bool:
        """Whether processes may start with the model."""
        if self._is_ready:
            return True
        with translated("counting what is missing"):
            async with self._deps.engine.begin() as connection:
                is_ours = await vector_column(connection, self._deps.embeds_by) == TO_FOLLOW
                if not is_ours or not await is_complete(connection, self._deps.clock.now()):
                    return False
                await say_ready(connection)
        if not self._is_ready:
            self._is_ready = True
            self._said_ready()
        return True
