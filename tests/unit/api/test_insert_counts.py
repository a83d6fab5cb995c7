"""Counted inserts reach Postgres once each, also when it is away for a while or the gateway stops."""

import asyncio
from collections.abc import Mapping
from contextlib import suppress
from datetime import UTC, date, datetime

import pytest

from api.insert_counts import InsertCounter
from schemas.errors import ConfigurationError, MemostreamError, RetryLater
from storage.project_usage import Inserts

TODAY = date(2026, 11, 20)


class Table:
    """Where counts are added, as Postgres adds them."""

    def __init__(self) -> None:
        self.rows: dict[tuple[str, date], Inserts] = {}
        self.failure: MemostreamError | None = None
        self.may_answer = asyncio.Event()
        self.may_answer.set()
        self.asked = asyncio.Event()
        self.now = datetime(2026, 11, 20, 23, 59, tzinfo=UTC)
        self.counter = InsertCounter(self.add, lambda: self.now)

    async def add(self, counted: Mapping[tuple[str, date], Inserts]) -> None:
        self.asked.set()
        await self.may_answer.wait()
        if self.failure is not None:
            raise self.failure
        for key, more in counted.items():
            known = self.rows.get(key, Inserts())
            self.rows[key] = Inserts(known.calls + more.calls, known.stored + more.stored)


@pytest.fixture
def table() -> Table:
    return Table()


async def test_calls_are_added_by_project_and_day_of_utc(table: Table) -> None:
    for project_id, stored in (("shop", True), ("shop", False), ("blog", False)):
        table.counter.count(project_id, stored=stored)
    table.now = datetime(2026, 11, 21, 0, 1, tzinfo=UTC)
    table.counter.count("shop", stored=True)
    await table.counter.flush()
    await table.counter.flush()
    assert table.rows == {
        ("shop", TODAY): Inserts(2, 1),
        ("blog", TODAY): Inserts(1, 0),
        ("shop", date(2026, 11, 21)): Inserts(1, 1),
    }


@pytest.mark.parametrize("failure", [RetryLater("away"), ConfigurationError("a table is missing")])
async def test_what_cannot_be_added_now_is_added_later(table: Table, failure: MemostreamError) -> None:
    table.counter.count("shop", stored=True)
    table.failure = failure
    await table.counter.flush()
    table.counter.count("shop", stored=False)
    table.failure = None
    await table.counter.flush()
    assert table.rows == {("shop", TODAY): Inserts(2, 1)}


async def test_what_a_stop_interrupts_is_added_by_the_last_flush(table: Table) -> None:
    table.counter.count("shop", stored=True)
    table.may_answer.clear()
    flushing = asyncio.create_task(table.counter.flush())
    await table.asked.wait()
    table.counter.count("shop", stored=True)
    flushing.cancel()
    with suppress(asyncio.CancelledError):
        await flushing
    table.may_answer.set()
    await table.counter.flush()
    assert table.rows == {("shop", TODAY): Inserts(2, 2)}
