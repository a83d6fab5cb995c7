"""Rows for several tables, written by one statement: it takes one round trip, however many rows and tables there are.

The rows come as JSON, which Postgres takes apart by the types of their columns; vectors come beside it, in binary.
"""

from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from decimal import Decimal
from functools import cache
from typing import Any, Final
from uuid import UUID

import numpy as np
import orjson
from sqlalchemy import (
    CTE,
    JSON,
    Column,
    ColumnElement,
    FromClause,
    Function,
    Integer,
    Table,
    Text,
    bindparam,
    cast,
    column,
    func,
    select,
    update,
)
from sqlalchemy.dialects.postgresql import insert as upsert
from sqlalchemy.ext.asyncio import AsyncConnection
from sqlalchemy.sql.elements import Grouping

from schemas.memory import Embedding
from storage.columns import Vector
from storage.compiled import Compiled
from storage.vector_codec import BINARY_VECTORS

_NEWS: Final = "news"
_VECTORS: Final = "vectors"


class RowsOf:
    """Inserts rows of a table: their columns `names`, in the order of `ordered_by` where the order counts.

    A row that is there stays as it is where `keeps` is set. Where `key` is given it takes the new values of `moved`,
    and one statement must not hold two rows of a key.
    """

    def __init__(
        self,
        table: Table,
        *names: str,
        keeps: bool = False,
        key: str | None = None,
        moved: Collection[str] = (),
        ordered_by: str | None = None,
    ) -> None:
        self.name = table.name
        self._table = table
        self._names = names
        self._keeps = keeps
        self._key = key
        self._moved = moved
        self._ordered_by = ordered_by

    def document(self, rows: Sequence[Mapping[str, Any]]) -> Any:
        """What the statement's parameter holds."""
        return rows

    def statement(self) -> CTE:
        """Reads the rows from a parameter with the table's name."""
        rows = _from_json(func.json_to_recordset, self.name, [self._table.c[name] for name in self._names])
        found = select(*(_value(rows.c[name], self._table.c[name]) for name in self._names))
        if self._ordered_by is not None:
            found = found.order_by(rows.c[self._ordered_by])
        insert = upsert(self._table).from_select(self._names, found, include_defaults=False)
        if self._keeps:
            insert = insert.on_conflict_do_nothing()
        if self._key is not None:
            new = {name: insert.excluded[name] for name in self._moved}
            insert = insert.on_conflict_do_update(index_elements=[self._key], set_=new)
        return insert.cte(f"into_{self.name}")


class UpdateOf:
    """Updates the row of a table that has these values of `key`: the columns `moved`, but for values that are null.

    One statement takes one such row: Postgres would expect a hundred of a list, and read a whole table for them.
    """

    def __init__(self, table: Table, *, key: Sequence[str], moved: Sequence[str]) -> None:
        self.name = table.name
        self._table = table
        self._key = key
        self._moved = moved

    def document(self, rows: Sequence[Mapping[str, Any]]) -> Any:
        """What the statement's parameter holds."""
        (row,) = rows
        return row

    def statement(self) -> CTE:
        """Reads the row from a parameter with the table's name."""
        columns = self._table.c
        row = _from_json(func.json_to_record, self.name, [columns[name] for name in (*self._key, *self._moved)])
        new = {name: func.coalesce(row.c[name], columns[name]) for name in self._moved}
        found = (columns[name] == row.c[name] for name in self._key)
        return update(self._table).where(*found).values(new).cte(f"moved_in_{self.name}")


class Writes:
    """Collects rows and notifications of a transaction, until `send` writes them all."""

    def __init__(self) -> None:
        self._rows: dict[RowsOf | UpdateOf, list[Mapping[str, Any]]] = {}
        self._news: list[dict[str, str]] = []

    def add(self, into: RowsOf | UpdateOf, rows: Iterable[Mapping[str, Any]]) -> None:
        """Rows that have a value for each of the columns; those of one table are written in this order."""
        if added := list(rows):
            self._rows.setdefault(into, []).extend(added)

    def notify(self, channel: str, payload: str) -> None:
        """Tell those who listen once the transaction is committed."""
        self._news.append({"channel": channel, "payload": payload})

    async def send(self, connection: AsyncConnection) -> None:
        """Write what was collected, once; a row does not see the others, but keys between them hold."""
        if not self._rows and not self._news:
            return
        vectors: list[Embedding] = []
        values = {into.name: _to_json(into.document(rows), vectors) for into, rows in self._rows.items()}
        news = _to_json(self._news, vectors)
        await _statement(tuple(self._rows)).rows(connection, **values, **{_NEWS: news, _VECTORS: vectors})
        self._rows, self._news = {}, []


@cache
def _statement(parts: tuple[RowsOf | UpdateOf, ...]) -> Compiled:
    news = _from_json(func.json_to_recordset, _NEWS, [Column("channel", Text), Column("payload", Text)])
    told = select(func.pg_notify(news.c.channel, news.c.payload))
    return Compiled(told.add_cte(*(part.statement() for part in parts)))


def _from_json(
    function: Callable[[ColumnElement[Any]], Function[Any]], parameter: str, columns: Sequence[Column[Any]]
) -> FromClause:
    document = cast(bindparam(parameter, type_=Text), JSON)
    said = (column(item.name, Integer() if _is_vector(item) else item.type) for item in columns)
    rows = function(document).table_valued(*said)
    return rows.render_derived(name=f"rows_of_{parameter}", with_types=True)


def _is_vector(item: Column[Any]) -> bool:
    return isinstance(item.type, Vector)


def _value(said: ColumnElement[Any], item: Column[Any]) -> ColumnElement[Any]:
    """What a row says of a column; of a vector that is its place among all."""
    return Grouping(bindparam(_VECTORS, type_=BINARY_VECTORS))[said] if _is_vector(item) else said


def _to_json(document: Any, vectors: list[Embedding]) -> str:
    """The rows, whose vectors are added to `vectors`."""

    def other(value: Any) -> Any:
        if not isinstance(value, np.ndarray):
            return _other(value)
        vectors.append(value)
        return len(vectors)

    return orjson.dumps(document, default=other).decode()


def _other(value: Any) -> Any:
    # The driver's own kind of UUID is none that orjson knows.
    if isinstance(value, Decimal | UUID):
        return str(value)
    if isinstance(value, Mapping):
        return dict(value)
    raise TypeError(f"{type(value).__name__} is no value of a column")
