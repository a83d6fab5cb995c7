"""Statements that are compiled once and run by asyncpg itself, inside SQLAlchemy's transaction.

For what every window runs: to build a statement and look it up among the compiled ones takes SQLAlchemy ten times
longer than it takes asyncpg to run it.
"""

import asyncio
from collections.abc import Mapping, Sequence
from typing import Any, Final

import asyncpg
from sqlalchemy import ClauseElement, select, text
from sqlalchemy.dialects.postgresql import asyncpg as dialects
from sqlalchemy.ext.asyncio import AsyncConnection

from storage.vector_codec import BINARY_VECTORS, know_vectors

_DIALECT: Final = dialects.PGDialect_asyncpg()  # type: ignore[no-untyped-call]
_BEGIN: Final = select(text("1"))

# As asyncpg returns it: by name or number.
Record = Mapping[Any, Any]


class Compiled:
    """Takes its parameters by the names of its `bindparam`s.

    One that stands `alone` begins no transaction: it is one by itself, as what reads and locks nothing may be.
    """

    def __init__(self, statement: ClauseElement, *, alone: bool = False) -> None:
        self._alone = alone
        compiled: Any = statement.compile(dialect=_DIALECT)
        self._sql = str(compiled)
        processors = compiled._bind_processors  # noqa: SLF001
        self._has_vectors = any(compiled.binds[name].type is BINARY_VECTORS for name in compiled.positiontup)
        self._parameters = [(compiled.binds[name], processors.get(name)) for name in compiled.positiontup]

    async def rows(self, connection: AsyncConnection, **values: Any) -> Sequence[Record]:
        driver = await self._driver(connection)
        found: Sequence[Record] = await driver.fetch(self._sql, *self._arguments(values))
        return found

    async def row(self, connection: AsyncConnection, **values: Any) -> Record | None:
        driver = await self._driver(connection)
        found: Record | None = await driver.fetchrow(self._sql, *self._arguments(values))
        return found

    async def _driver(self, connection: AsyncConnection) -> Any:
        # Asked for directly where it can be: SQLAlchemy's own way enters a greenlet each time.
        if (direct := connection.sync_connection) is not None and not direct.invalidated:
            pooled = direct.connection
        else:
            pooled = await connection.get_raw_connection()
        driver = pooled.driver_connection
        if not isinstance(driver, asyncpg.Connection):
            raise TypeError("compiled statements need asyncpg")
        # Begun by SQLAlchemy, which ends it; without, the statement would be a transaction of its own.
        if not self._alone and not driver.is_closed() and not driver.is_in_transaction():
            await _begin(connection, pooled.dbapi_connection)
        if self._has_vectors:
            await know_vectors(driver)
        return driver

    def _arguments(self, values: Mapping[str, Any]) -> list[Any]:
        arguments = []
        for parameter, process in self._parameters:
            value = values[parameter.key] if parameter.required else parameter.value
            arguments.append(value if process is None else process(value))
        return arguments


async def _begin(connection: AsyncConnection, adapter: Any) -> None:
    if connection.in_transaction():
        # What SQLAlchemy does before a statement of its own, without one.
        try:
            await adapter._start_transaction()  # noqa: SLF001
        except dialects.AsyncAdapt_asyncpg_dbapi.Error as error:
            # As the statement itself would raise it, which the driver runs.
            raise error.__cause__ or error from None
        except asyncio.CancelledError:
            # The server may have begun what the adapter knows nothing of and nobody would end: the next one to take
            # this connection would write into it, and believe that it was committed.
            adapter.driver_connection.terminate()
            raise
    else:
        await connection.execute(_BEGIN)
