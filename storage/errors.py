"""Postgres' errors as ours: what may pass is RetryLater, what a person must set right ConfigurationError, no other."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final

import asyncpg
from sqlalchemy.exc import DBAPIError
from sqlalchemy.exc import TimeoutError as PoolTimeoutError

from schemas.errors import ConfigurationError, RetryLater

# Connection exceptions and insufficient resources.
_PASSING_CLASSES: Final = ("08", "53")
_PASSING_STATES: Final = frozenset(
    {
        "25P03",  # idle in transaction for too long: this worker was frozen
        "25P04",  # transaction for too long
        "25006",  # read-only transaction: this server has become a standby
        "40001",  # serialization failure
        "40P01",  # deadlock
        "55P03",  # lock not available
        "57014",  # query cancelled
        "57P01",  # admin shutdown
        "57P02",  # crash shutdown
        "57P03",  # cannot connect now
        "57P05",  # idle session timeout
    }
)
_MISCONFIGURED: Final = {
    "28000": "it does not let this user in: check storage.database_url",
    "28P01": "it refuses the password: check storage.database_url",
    "3D000": "there is no such database: check storage.database_url",
    "42703": "its tables are not this memostream's: run `memostream migrate`, or check storage.database_url",
    "42P01": "its tables are missing: run `memostream migrate`, or check storage.database_url",
    "42501": "this database user lacks a privilege: grant it, or check storage.database_url",
}
# asyncpg's own errors carry no SQLSTATE: a connection that is gone or going (it calls that internal), or that was made
# before a migration.
_PASSING_DRIVER_ERRORS: Final = (
    asyncpg.exceptions.InvalidCachedStatementError,
    asyncpg.exceptions.ConnectionDoesNotExistError,
    asyncpg.InternalClientError,
)
# What a call to the database may raise: the driver's errors as they are, or wrapped by SQLAlchemy.
CONNECTION_ERRORS: Final = (
    OSError,
    TimeoutError,
    PoolTimeoutError,
    DBAPIError,
    asyncpg.PostgresError,
    asyncpg.InterfaceError,
    asyncpg.InternalClientError,
)


@contextmanager
def translated(what: str) -> Iterator[None]:
    """Raise RetryLater for a lost connection, a deadlock or a failure to serialize, and ConfigurationError for a
    database that does not let us in or was not migrated; others pass through.
    """
    try:
        yield
    except CONNECTION_ERRORS as error:
        if (advice := _MISCONFIGURED.get(sqlstate(error) or "")) is not None:
            raise ConfigurationError(f"Postgres, {what}: {advice}") from error
        if not may_pass(error):
            raise
        raise RetryLater(f"Postgres, {what}: {describe(error)}") from error


def may_pass(error: BaseException) -> bool:
    """Whether the same call may succeed later, without anybody changing anything."""
    if isinstance(error, OSError | TimeoutError | PoolTimeoutError):
        return True
    if isinstance(error, DBAPIError):
        return error.connection_invalidated or (error.orig is not None and may_pass(error.orig))
    state = sqlstate(error)
    if state is not None and (state in _PASSING_STATES or state[:2] in _PASSING_CLASSES):
        return True
    chain = (error, error.__cause__)
    if any(isinstance(link, _PASSING_DRIVER_ERRORS) for link in chain):
        return True
    return any(isinstance(link, asyncpg.InterfaceError) and "clos" in str(link) for link in chain)


def sqlstate(error: BaseException) -> str | None:
    """The five characters that Postgres gives to an error, however it is wrapped."""
    state = getattr(error, "sqlstate", None)
    if isinstance(error, DBAPIError) and error.orig is not None:
        state = sqlstate(error.orig)
    return state if isinstance(state, str) else None


def describe(error: BaseException) -> str:
    """The kind of an error, without its text: that may quote parameters or an address."""
    origin = error.orig if isinstance(error, DBAPIError) and error.orig is not None else error
    name = type(origin.__cause__ or origin).__name__
    state = sqlstate(error)
    return f"{name} ({state})" if state else name
