"""A change of a project's tokens reaches whoever keeps them in memory."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import suppress
from datetime import UTC, datetime

import pytest
from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncEngine

from api.access import Gatekeeper, stored_in
from api.errors import ApiError
from storage.project_tokens import add_token, id_of, new_token, resume_project, revoke_tokens, suspend_project

NOW = datetime(2026, 11, 20, tzinfo=UTC)
LIMIT_S = 60


class Door:
    """A gatekeeper that follows changes, with a clock that stands still: only notifications make it look again."""

    def __init__(self, engine: AsyncEngine) -> None:
        self.engine = engine
        self.keeper = Gatekeeper(stored_in(engine), None, monotonic=lambda: 0.0)

    async def answer(self, token: str) -> str:
        try:
            return (await self.keeper.authenticate(f"Bearer {token}", None)).project_id
        except ApiError as error:
            return error.errmsg

    async def answers(self, token: str, expected: str) -> None:
        async with asyncio.timeout(LIMIT_S):
            while await self.answer(token) != expected:
                await asyncio.sleep(0.01)

    async def create(self, project_id: str) -> str:
        token = new_token(project_id)
        async with self.engine.begin() as connection:
            await add_token(connection, project_id, token, None, NOW)
        return token

    async def listens(self) -> None:
        query = text(
            "SELECT count(*) FROM pg_stat_activity WHERE query LIKE 'LISTEN%' AND datname = current_database()"
        )
        async with asyncio.timeout(LIMIT_S):
            while True:
                async with self.engine.connect() as connection:
                    if await connection.scalar(query):
                        return
                await asyncio.sleep(0.01)


@pytest.fixture
async def door(engine: AsyncEngine) -> AsyncIterator[Door]:
    door = Door(engine)
    following = asyncio.create_task(door.keeper.follow(engine))
    await door.listens()
    yield door
    following.cancel()
    with suppress(asyncio.CancelledError):
        await following


async def test_a_token_opens_its_project_until_it_is_revoked(door: Door) -> None:
    token, other = await door.create("shop"), await door.create("shop")
    assert [await door.answer(token), await door.answer(other)] == ["shop", "shop"]
    async with door.engine.begin() as connection:
        assert await revoke_tokens(connection, "shop", [id_of(token)], NOW) == [id_of(token)]
    await door.answers(token, "the token was revoked")
    assert await door.answer(other) == "shop"


async def test_a_new_token_is_known_though_its_project_was_not(door: Door) -> None:
    assert await door.answer(new_token("shop")) == "the token is not known"
    await door.answers(await door.create("shop"), "shop")


async def test_a_suspended_project_is_closed_to_all_until_it_is_resumed(door: Door) -> None:
    token = await door.create("shop")
    assert await door.answer(token) == "shop"
    async with door.engine.begin() as connection:
        await suspend_project(connection, "shop", NOW)
    await door.answers(token, "403: the project is suspended")
    assert await door.answer(new_token("shop")) == "the token is not known"
    async with door.engine.begin() as connection:
        await resume_project(connection, "shop", NOW)
    await door.answers(token, "shop")


async def test_a_revocation_while_the_listener_is_away_is_seen_when_it_is_back(door: Door) -> None:
    token = await door.create("shop")
    assert await door.answer(token) == "shop"
    async with door.engine.connect() as connection:
        await connection.execute(
            text(
                "SELECT pg_terminate_backend(pid) FROM pg_stat_activity "
                "WHERE query LIKE 'LISTEN%' AND datname = current_database() AND pid <> pg_backend_pid()"
            )
        )
        # Without a notification, as if it had been sent in between.
        await connection.execute(text("UPDATE project_tokens SET revoked_at = now()"))
        await connection.commit()
    await door.answers(token, "the token was revoked")
