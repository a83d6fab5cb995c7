"""Revisions of a restored database are raised above those that are published."""

from uuid import uuid4

from sqlalchemy import select
from sqlalchemy.ext.asyncio import AsyncEngine

from storage.commands import apply_command
from storage.locking import lock_user
from storage.revisions import raise_revisions
from storage.tables import users
from tests.integration.storage.builders import NOW, command, position, remember


async def revisions(engine: AsyncEngine) -> dict[str, int]:
    async with engine.connect() as connection:
        return {
            row.user_id: row.revision for row in await connection.execute(select(users.c.user_id, users.c.revision))
        }


async def test_revisions_go_on_above_the_published_ones(engine: AsyncEngine) -> None:
    await remember(engine, "b1", "Acme")
    assert await revisions(engine) == {"ann": 1}
    published = {("default", "ann"): 7, ("default", "bo"): 3}
    async with engine.begin() as connection:
        assert await raise_revisions(connection, published, NOW) == 2
    assert await revisions(engine) == {"ann": 7, "bo": 3}
    async with engine.begin() as connection:
        assert await raise_revisions(connection, {("default", "ann"): 6, ("default", "bo"): 3}, NOW) == 0
    assert await revisions(engine) == {"ann": 7, "bo": 3}


async def test_a_forgotten_user_is_not_named_and_comes_back_above_it(engine: AsyncEngine) -> None:
    await remember(engine, "b1", "Acme")
    async with engine.begin() as connection:
        await apply_command(connection, command("forget-user"), position(200, "extraction-windows"), NOW, uuid4)
    async with engine.begin() as connection:
        assert await raise_revisions(connection, {("default", "ann"): 9}, NOW) == 1
    assert await revisions(engine) == {}
    async with engine.begin() as connection:
        assert (await lock_user(connection, "default", "ann", NOW)).is_new
    assert await revisions(engine) == {"ann": 9}
