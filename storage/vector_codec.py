"""Many vectors as one parameter, in the form that Postgres keeps them in: as text, each number is written and read."""

from collections.abc import Callable
from typing import Any, Final
from weakref import WeakSet

import asyncpg
from pgvector import HalfVector
from pgvector.sqlalchemy import HALFVEC
from sqlalchemy import ARRAY

_SCHEMA: Final = (
    "SELECT nspname FROM pg_type JOIN pg_namespace ON pg_namespace.oid = typnamespace "
    "WHERE pg_type.oid = CAST('halfvec' AS regtype)"
)
_knowing: Final[WeakSet[asyncpg.Connection]] = WeakSet()


class _Binary(HALFVEC):
    cache_ok = True

    def bind_processor(self, _: Any) -> Callable[[Any], HalfVector]:
        return HalfVector


# The type of a parameter, for a connection that knows vectors.
BINARY_VECTORS: Final = ARRAY(_Binary)


async def know_vectors(connection: asyncpg.Connection) -> None:
    """Have a connection take vectors as Postgres keeps them, those that come as text, too; once, for it asks for types.

    Not when it is made: the type may come later, with a migration.
    """
    if connection in _knowing:
        return
    schema = await connection.fetchval(_SCHEMA)
    await connection.set_type_codec(
        "halfvec", schema=schema, encoder=_to_binary, decoder=HalfVector.from_binary, format="binary"
    )
    _knowing.add(connection)


def _to_binary(vector: HalfVector | str) -> bytes:
    return (HalfVector.from_text(vector) if isinstance(vector, str) else vector).to_binary()
