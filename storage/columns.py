"""What the tables are made of: kinds of columns, and the names of constraints."""

from collections.abc import Callable
from typing import Any, Final

import numpy as np
import orjson
from numpy.typing import NDArray
from pgvector.sqlalchemy import HALFVEC
from sqlalchemy import (
    ARRAY,
    TIMESTAMP,
    UUID,
    BigInteger,
    Column,
    Computed,
    Index,
    Integer,
    MetaData,
    Table,
    Text,
    text,
)
from sqlalchemy.dialects.postgresql import JSONB, TSVECTOR

LIVE_GENERATION: Final = 0

_SEARCHED_ONLY: Final = ("embedding", "embed_after", "next_embedding", "next_embed_after", "keywords")

metadata: Final = MetaData(
    naming_convention={
        "ix": "ix_%(table_name)s_%(column_0_N_name)s",
        "uq": "uq_%(table_name)s_%(column_0_N_name)s",
        "ck": "ck_%(table_name)s_%(constraint_name)s",
        "fk": "fk_%(table_name)s_%(column_0_N_name)s",
        "pk": "pk_%(table_name)s",
    }
)


class Vector(HALFVEC):
    """A vector is sent as text, which orjson writes twenty times faster than pgvector."""

    cache_ok = True

    def bind_processor(self, dialect: Any) -> Callable[[Any], str | None]:
        other = super().bind_processor(dialect)

        def process(value: Any) -> str | None:
            if isinstance(value, np.ndarray) and value.ndim == 1 and value.dtype == np.float32:
                return vector_text(value)
            text: str | None = other(value)
            return text

        return process


def vector_text(vector: NDArray[np.float32]) -> str:
    """A vector as Postgres reads it."""
    return orjson.dumps(np.ascontiguousarray(vector, dtype=np.float32), option=orjson.OPT_SERIALIZE_NUMPY).decode()


def text_column(name: str, **options: Any) -> Column[str]:
    return Column(name, Text, nullable=False, **options)


def optional_text_column(name: str) -> Column[str | None]:
    return Column(name, Text, nullable=True)


def optional_json_column(name: str) -> Column[Any]:
    # None is NULL, not the JSON value null, which `IS NULL` would not find.
    return Column(name, JSONB(none_as_null=True), nullable=True)


def time_column(name: str, **options: Any) -> Column[Any]:
    return Column(name, TIMESTAMP(timezone=True), nullable=False, **options)


def number_column(name: str, default: int | None = None, *, big: bool = False) -> Column[int]:
    server_default = None if default is None else text(str(default))
    return Column(name, BigInteger if big else Integer, nullable=False, server_default=server_default)


def texts_column(name: str) -> Column[Any]:
    return Column(name, ARRAY(Text), nullable=False, server_default=text("'{}'"))


def uuids_column(name: str) -> Column[Any]:
    return Column(name, ARRAY(UUID), nullable=False, server_default=text("'{}'"))


def searched_columns(keywords_of: str, has_text: str = "") -> tuple[Column[Any] | Index, ...]:
    """What search reads of a row. Search is an exact scan of one user's rows: neither vectors nor keywords are indexed.

    `embed_after` is when a missing embedding may be made, null for never. A trigger takes the embeddings away from a
    row whose text changes, and sets `embed_after` back.
    """
    condition = "embedding IS NULL AND embed_after IS NOT NULL" + (f" AND {has_text}" if has_text else "")
    return (
        # The migration gives it its dimension.
        Column("embedding", Vector(), nullable=True),
        Column("embed_after", TIMESTAMP(timezone=True), nullable=True, server_default=text("'-infinity'")),
        # Those of the model that is to follow, while `memostream reembed` makes them, which gives it its dimension.
        Column("next_embedding", Vector(), nullable=True),
        Column("next_embed_after", TIMESTAMP(timezone=True), nullable=True),
        Column("keywords", TSVECTOR, Computed(f"memostream_keywords({keywords_of})", persisted=True)),
        Index(None, "embed_after", postgresql_where=text(condition)),
    )


def without_search(table: Table) -> tuple[Column[Any], ...]:
    """The columns of a table for reading its rows: a vector is larger than all else, and nobody reads it."""
    return tuple(column for column in table.c if column.name not in _SEARCHED_ONLY)
