"""What waits in Postgres, at scrapes' pace: the outbox and the held windows."""

import asyncio
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from sqlalchemy import ColumnElement, func, select
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine

from schemas.metrics import Metrics
from storage.errors import CONNECTION_ERRORS
from storage.probing import TIMEOUT_S, Remembered
from storage.tables import held_windows, outbox


@dataclass(frozen=True, slots=True)
class Backlogs:
    """Ages in seconds, by the database's clock; 0 where nothing waits."""

    outbox_rows: int
    outbox_age_s: float
    held_age_s: float
    held_by_reason: Mapping[str, int]


async def read_backlogs(connection: AsyncConnection) -> Backlogs:
    rows, age_s = (
        await connection.execute(select(func.count(), _age_s(outbox.c.created_at)).select_from(outbox))
    ).one()
    held = (
        await connection.execute(
            select(held_windows.c.reason, func.count(), _age_s(held_windows.c.held_at)).group_by(held_windows.c.reason)
        )
    ).all()
    return Backlogs(
        outbox_rows=rows,
        outbox_age_s=max(float(age_s or 0), 0.0),
        held_age_s=max([0.0, *(float(age or 0) for _, _, age in held)]),
        held_by_reason={reason: count for reason, count, _ in held},
    )


class BacklogGauges:
    """However often pages are asked for, Postgres is asked once in a while; what is not known is not shown."""

    def __init__(self, engine: AsyncEngine, metrics: Metrics) -> None:
        self._engine = engine
        self._metrics = metrics
        self._remembered = Remembered(self._ask)

    async def show(self) -> None:
        """For a page of metrics."""
        await self._remembered.reasons()

    async def _ask(self) -> Sequence[str]:
        try:
            async with asyncio.timeout(TIMEOUT_S), self._engine.connect() as connection:
                self._show(await read_backlogs(connection))
        except CONNECTION_ERRORS:
            for name in (
                "memostream_outbox_rows",
                "memostream_outbox_oldest_age_seconds",
                "memostream_held_windows",
                "memostream_held_oldest_age_seconds",
            ):
                self._metrics.replace(name, {})
        return ()

    def _show(self, found: Backlogs) -> None:
        self._metrics.replace("memostream_outbox_rows", {(): found.outbox_rows})
        self._metrics.replace("memostream_outbox_oldest_age_seconds", {(): found.outbox_age_s})
        self._metrics.replace("memostream_held_oldest_age_seconds", {(): found.held_age_s})
        self._metrics.replace(
            "memostream_held_windows", {(reason,): count for reason, count in found.held_by_reason.items()}
        )


def _age_s(column: ColumnElement[Any]) -> ColumnElement[Any]:
    return func.extract("epoch", func.clock_timestamp() - func.min(column))
