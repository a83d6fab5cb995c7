"""Embeds what has no embedding yet: merged and edited entries, edited events, and what was written without a model."""

import asyncio
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from datetime import datetime, timedelta
from typing import Final

import structlog
from sqlalchemy.ext.asyncio import AsyncConnection

from agents.accounts import Accounts, BudgetReached, Meter
from agents.dependencies import EmbeddingDeps
from agents.faults import UserKey
from extraction.protocol import Embedder
from schemas.errors import ContentRejected, ContextTooLong, RetryLater, UnexplainedRefusal
from schemas.memory import Embedding, Usage
from schemas.tokens import estimate_tokens
from storage.embedding_queue import Unembedded, claim_unembedded, fill_embeddings, put_off
from storage.errors import translated
from storage.usage import EMBEDDED, UsageOutcome
from storage.vector_columns import IN_USE, VectorColumn, vector_column

log = structlog.get_logger()

BATCH_ROWS: Final = 64
POLL_S: Final = 1.0
# While Postgres or the endpoint is away. Nobody waits for these rows.
RETRY_S: Final = 30.0
# Longer than a call takes with its retries. What is not filled then, somebody tries again.
CLAIM_S: Final = 300.0
# What is refused without a reason may be the endpoint's fault.
UNEXPLAINED_S: Final = 3600.0

Filled = list[tuple[Unembedded, Embedding]]


class EmbeddingFiller:
    """Any number of workers may run one. Spends as extraction does: it is counted, and stops at a day's budget.

    It fills the column of its own model; `column` is where that was last seen, None where the database goes without.
    """

    def __init__(
        self,
        deps: EmbeddingDeps,
        embedder: Embedder,
        poll_s: float = POLL_S,
        counts_as: UsageOutcome = EMBEDDED,
    ) -> None:
        self._deps = deps
        self._embedder = embedder
        self._accounts = Accounts(deps)
        self._poll_s = poll_s
        self._counts_as = counts_as
        self.column: VectorColumn | None = IN_USE

    async def run(self) -> None:
        """Until cancelled."""
        while True:
            pause_s = self._poll_s
            try:
                if await self.fill_some() == BATCH_ROWS:
                    pause_s = 0.0
            except RetryLater as error:
                log.warning("embeddings.put_off", reason=str(error))
                pause_s = max(RETRY_S, error.delay_s)
            await asyncio.sleep(pause_s)

    async def fill_some(self) -> int:
        """One batch; returns how many rows were looked at.

        Raises RetryLater while Postgres or the endpoint is away; the rows of the batch wait until their claim runs out.
        """
        now = self._deps.clock.now()
        with translated("claiming rows to embed"):
            async with self._deps.engine.begin() as connection:
                column = await self._column(connection)
                if column is None:
                    return 0
                claimed = await claim_unembedded(connection, now, BATCH_ROWS, CLAIM_S, column)
        allowed = [row for user, rows in _by_user(claimed) if await self._may_spend(user, rows) for row in rows]
        if allowed:
            await self._fill(allowed)
        return len(claimed)

    async def _may_spend(self, user: UserKey, rows: Sequence[Unembedded]) -> bool:
        try:
            await self._accounts.check(user)
        except BudgetReached as error:
            await self._put_off(rows, error.until)
            return False
        return True

    async def _fill(self, rows: Sequence[Unembedded]) -> None:
        """Halves what is refused until the row at fault is alone."""
        try:
            vectors, usage = await self._embedder.embed([row.text for row in rows])
        except (ContentRejected, ContextTooLong) as error:
            await self._spent(rows, error.usage or Usage())
            if len(rows) > 1:
                await self._fill(rows[: len(rows) // 2])
                await self._fill(rows[len(rows) // 2 :])
                return
            is_unexplained = isinstance(error, UnexplainedRefusal)
            until = self._deps.clock.now() + timedelta(seconds=UNEXPLAINED_S) if is_unexplained else None
            await self._put_off(rows, until)
            log.warning("embeddings.refused", project_id=rows[0].project_id, user_id=rows[0].user_id, kind=rows[0].kind)
            return
        except RetryLater as error:
            await self._spent(rows, error.usage or Usage())
            raise
        filled: Filled = [(row, vector) for row, vector in zip(rows, vectors, strict=True) if vector.any()]
        # Without a direction there is nothing to compare; the model will know no more of its words tomorrow.
        empty = [row for row, vector in zip(rows, vectors, strict=True) if not vector.any()]
        with translated("writing embeddings"):
            async with self._deps.engine.begin() as connection:
                column = await self._column(connection)
                if column is not None:
                    await fill_embeddings(connection, filled, column)
                    await put_off(connection, empty, None, column)
        await self._spent(rows, usage)
        log.info("embeddings.filled", rows=len(filled), without_direction=len(empty))

    async def _put_off(self, rows: Sequence[Unembedded], until: datetime | None) -> None:
        with translated("putting off embeddings"):
            async with self._deps.engine.begin() as connection:
                column = await self._column(connection)
                if column is not None:
                    await put_off(connection, rows, until, column)

    async def _column(self, connection: AsyncConnection) -> VectorColumn | None:
        """Asked in each transaction that writes: `memostream reembed` may have gone on since the last."""
        column = await vector_column(connection, self._deps.embeds_by)
        if column is None and self.column is not None:
            log.warning("embeddings.other_model", model=str(self._deps.embeds_by))
        self.column = column
        return column

    async def _spent(self, rows: Sequence[Unembedded], usage: Usage) -> None:
        """Written to those whose texts they were, by their share; the calls to the first."""
        if usage == Usage():
            return
        weights = {user: sum(estimate_tokens(row.text) for row in own) for user, own in _by_user(rows)}
        for user, part in shares_of(usage, weights):
            meter = Meter(self._deps.clock.new_id())
            meter.add(part)
            await self._accounts.record_apart(self._accounts.attempt(meter, user, (), self._counts_as))


def shares_of(usage: Usage, weights: Mapping[UserKey, int]) -> Iterator[tuple[UserKey, Usage]]:
    """What a call for several users has spent, divided by weight; the call itself counts for the first."""
    tokens = {
        user: usage.embedding_tokens * weight // max(sum(weights.values()), 1) for user, weight in weights.items()
    }
    first = next(iter(weights))
    tokens[first] += usage.embedding_tokens - sum(tokens.values())
    for user, count in tokens.items():
        share = replace(usage, embedding_tokens=count, models=())
        if user != first:
            share = Usage(embedding_tokens=count)
        if share != Usage():
            yield user, share.of_model(usage.models[0][0]) if usage.models else share


def _by_user(rows: Sequence[Unembedded]) -> Iterator[tuple[UserKey, list[Unembedded]]]:
    found: dict[UserKey, list[Unembedded]] = {}
    for row in rows:
        found.setdefault((row.project_id, row.user_id), []).append(row)
    yield from found.items()
