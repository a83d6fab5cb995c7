"""Faults of the model's endpoint: slow, busy, broken, away, and talking nonsense."""

import asyncio
from typing import Final

from tests.chaos.arena import Arena
from tests.support.scripted_openai import Fault, cut_connection, hang, rate_limited, server_error

LASTS_S: Final = (3.0, 6.0)
# An hour's outage against hold_after_s of a minute and retries of up to another; both are scaled in arena.py.
OUTAGE_S: Final = 25.0


async def always(arena: Arena, fault: Fault, lasts_s: float | None = None) -> str:
    """Every call meets it for a while."""
    arena.model.always = arena.model.embed_always = fault
    await asyncio.sleep(lasts_s or arena.random.uniform(*LASTS_S))
    arena.model.always = arena.model.embed_always = None
    return ""


async def time_out(arena: Arena) -> str:
    return await always(arena, hang())


async def too_many_requests(arena: Arena) -> str:
    return await always(arena, rate_limited(1))


async def break_down(arena: Arena) -> str:
    return await always(arena, server_error(arena.random.choice((500, 502, 503))))


async def cut(arena: Arena) -> str:
    return await always(arena, cut_connection())


async def refuse(arena: Arena) -> str:
    await arena.model.leave()
    await asyncio.sleep(arena.random.uniform(*LASTS_S))
    await arena.model.come_back()
    return ""


async def babble(arena: Arena) -> str:
    """Replies that do not validate, at the first of two tries."""
    arena.model.babbles = True
    await asyncio.sleep(arena.random.uniform(*LASTS_S))
    arena.model.babbles = False
    return ""


async def outage(arena: Arena) -> str:
    """Users are held meanwhile, and come back."""
    held = 0
    watching = asyncio.create_task(always(arena, server_error(503), OUTAGE_S))
    while not watching.done():
        connection = await arena.connect()
        try:
            held = max(held, int(await connection.fetchval("SELECT count(*) FROM held_windows")))
        finally:
            await connection.close()
        await asyncio.sleep(1.0)
    await watching
    return f"{held} windows held"
