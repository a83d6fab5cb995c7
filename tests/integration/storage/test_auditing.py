"""The audit's look-ups on a real database."""

from uuid import uuid4

from sqlalchemy.ext.asyncio import AsyncEngine

from storage.auditing import cut_offs, units_of_blobs
from storage.commands import apply_command
from tests.integration.storage.builders import NOW, application, apply_once, command, position, unit, window


async def test_units_are_found_by_blob_for_many_users_at_once(engine: AsyncEngine) -> None:
    await apply_once(engine, application(window(unit("b1", 1), unit("b2", 2))))
    await apply_once(engine, application(window(unit("b1", 3), user_id="bob")))
    wanted = {("default", "ann", "b1"), ("default", "bob", "b1"), ("default", "bob", "b2")}
    async with engine.connect() as connection:
        found = await units_of_blobs(connection, wanted)
    offsets = {key: [row.position.offset for row in rows if row.position] for key, rows in found.items()}
    assert offsets == {("default", "ann", "b1"): [1], ("default", "bob", "b1"): [3]}


async def test_the_cut_offs_of_forgotten_users_are_found_by_their_names(engine: AsyncEngine) -> None:
    async with engine.begin() as connection:
        await apply_command(connection, command("forget-user", offset=7), position(1), NOW, uuid4)
        found = await cut_offs(connection, {("default", "ann"), ("default", "bob")})
    assert {owner: cut_off.offsets for owner, cut_off in found.items()} == {
        ("default", "ann"): {("chat-messages", 0): 7}
    }
