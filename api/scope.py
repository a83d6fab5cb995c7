"""The one place where a request is bound to its project: routes reach Postgres through it only."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Annotated, Final

from fastapi import Depends, Request
from sqlalchemy.ext.asyncio import AsyncConnection

from api.access import Access
from api.gateway import Gateway
from storage.errors import translated
from storage.row_security import bind

# A database that is frozen, or a user whose row is locked for long: the caller hears of it before they give up.
DATABASE_TIMEOUT_S: Final = 20.0


@dataclass(frozen=True, slots=True)
class Scope:
    """A request's project, and connections for it.

    `project_id` goes into every query. With row-level security, a query that forgot it would see nothing of others
    all the same.
    """

    project_id: str
    is_root: bool
    gateway: Gateway

    @asynccontextmanager
    async def connection(self) -> AsyncIterator[AsyncConnection]:
        """For reading; each statement sees what is committed when it begins. Raises RetryLater."""
        if self.gateway.settings.api.row_level_security:
            # Only in a transaction does a connection forget its role by itself, whatever happens.
            async with self.transaction() as connection:
                yield connection
            return
        with translated("reading"):
            async with asyncio.timeout(DATABASE_TIMEOUT_S), self.gateway.engine.connect() as connection:
                yield await connection.execution_options(isolation_level="AUTOCOMMIT")

    @asynccontextmanager
    async def transaction(self) -> AsyncIterator[AsyncConnection]:
        """Commits on leaving, and rolls back on an error. Raises RetryLater."""
        with translated("writing"):
            async with asyncio.timeout(DATABASE_TIMEOUT_S), self.gateway.engine.begin() as connection:
                if self.gateway.settings.api.row_level_security:
                    await bind(connection, self.project_id)
                yield connection


async def scope_of(request: Request) -> Scope:
    """Raises KeyError where nobody has asked for a token: such a route must not exist."""
    access: Access = request.scope["memostream.access"]
    return Scope(access.project_id, access.is_root, request.app.state.gateway)


ScopeDep = Annotated[Scope, Depends(scope_of)]
