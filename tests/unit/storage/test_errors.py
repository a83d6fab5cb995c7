"""Which database errors may pass, and that their text stays inside."""

import asyncpg
import pytest
from sqlalchemy.exc import DBAPIError, IntegrityError

from schemas.errors import ConfigurationError, RetryLater
from storage.errors import translated


@pytest.mark.parametrize(
    "error",
    [
        ConnectionRefusedError("10.0.0.1"),
        TimeoutError(),
        asyncpg.DeadlockDetectedError("x"),
        asyncpg.SerializationError("x"),
        asyncpg.AdminShutdownError("x"),
        asyncpg.ReadOnlySQLTransactionError("x"),
        asyncpg.TooManyConnectionsError("x"),
        asyncpg.CannotConnectNowError("x"),
        asyncpg.ConnectionDoesNotExistError("x"),
        asyncpg.InternalClientError("x"),
        asyncpg.IdleInTransactionSessionTimeoutError("x"),
        asyncpg.InterfaceError("connection is closed"),
        DBAPIError("SELECT", {}, asyncpg.DeadlockDetectedError("secret words")),
        DBAPIError("SELECT", {}, Exception("secret words"), connection_invalidated=True),
    ],
)
def test_what_may_pass_is_retried_later_and_quotes_nothing(error: Exception) -> None:
    with pytest.raises(RetryLater) as caught, translated("applying"):
        raise error
    assert "applying" in str(caught.value)
    assert not any(word in str(caught.value) for word in ("secret", "10.0.0.1"))


@pytest.mark.parametrize(
    ("error", "advice"),
    [
        (asyncpg.InvalidPasswordError("secret words"), "password"),
        (asyncpg.InvalidCatalogNameError("secret words"), "database_url"),
        (asyncpg.UndefinedTableError("secret words"), "memostream migrate"),
        (asyncpg.UndefinedColumnError("secret words"), "not this memostream's"),
        (DBAPIError("SELECT", {}, asyncpg.UndefinedTableError("secret words")), "memostream migrate"),
    ],
)
def test_what_a_person_must_set_right_says_how_and_quotes_nothing(error: Exception, advice: str) -> None:
    with pytest.raises(ConfigurationError, match=advice) as caught, translated("applying"):
        raise error
    assert "secret" not in str(caught.value)


@pytest.mark.parametrize(
    "error",
    [
        asyncpg.UniqueViolationError("x"),
        IntegrityError("INSERT", {}, asyncpg.UniqueViolationError("x")),
        asyncpg.InterfaceError("cannot perform operation: another operation is in progress"),
    ],
)
def test_other_errors_pass_through(error: Exception) -> None:
    with pytest.raises(type(error)), translated("applying"):
        raise error
