"""Faults of worker processes: killed, stopped, frozen, coming and going."""

import asyncio
import time
from typing import Final

from tests.chaos.arena import SESSION_TIMEOUT_S, Arena
from tests.chaos.workers import Worker

# Past the session, so that another worker takes over.
FROZEN_S: Final = SESSION_TIMEOUT_S + 2.5
STORM_MOVES: Final = 8
STORM_PAUSE_S: Final = (0.3, 2.0)
ARMED_TIMEOUT_S: Final = 90.0
POLL_S: Final = 0.05


class NotReached(Exception):
    """No worker came to the boundary that was armed."""


def some_worker(arena: Arena) -> Worker:
    """One that runs, or will at once."""
    return arena.random.choice(arena.workers.running or arena.workers.places)


async def kill(arena: Arena) -> str:
    place = some_worker(arena)
    if place.process is not None:
        # The supervisor sees it gone.
        place.process.kill()
    return ""


async def at_boundary(arena: Arena, name: str) -> str:
    """Armed until a worker has come there."""
    arena.workers.arm(name)
    deadline = time.monotonic() + ARMED_TIMEOUT_S
    while arena.workers.is_armed(name):
        if time.monotonic() > deadline:
            arena.workers.disarm(name)
            raise NotReached(name)
        await asyncio.sleep(POLL_S)
    return ""


async def at_takeover(arena: Arena, name: str) -> str:
    """The same of a boundary that only a worker comes to which takes a partition over: one dies, and then another."""
    arena.workers.arm(name)
    await kill(arena)
    return await at_boundary(arena, name)


async def sigterm(arena: Arena) -> str:
    place = some_worker(arena)
    begun = time.monotonic()
    await arena.workers.stop(place)
    seconds = time.monotonic() - begun
    arena.workers.start(place)
    return f"stopped in {seconds:.1f} s"


async def storm(arena: Arena) -> str:
    """Workers come and go faster than their group settles."""
    leaving: set[asyncio.Task[None]] = set()
    for _ in range(STORM_MOVES):
        here = [place for place in arena.workers.places if place.wanted]
        away = [place for place in arena.workers.places if not place.wanted and not place.is_running]
        if away and (not here or arena.random.random() < 0.5):
            arena.workers.start(arena.random.choice(away))
        elif here:
            place = arena.random.choice(here)
            leave = arena.workers.stop if arena.random.random() < 0.5 else arena.workers.kill
            place.wanted = False
            leaving.add(asyncio.create_task(leave(place)))
        await asyncio.sleep(arena.random.uniform(*STORM_PAUSE_S))
    await asyncio.gather(*leaving)
    for place in arena.workers.places:
        if not place.wanted:
            arena.workers.start(place)
    return f"{STORM_MOVES} moves"


async def freeze(arena: Arena) -> str:
    place = some_worker(arena)
    process = place.process
    if process is None:
        return "nobody there"
    arena.workers.freeze(place)
    await asyncio.sleep(FROZEN_S)
    if place.process is process:
        arena.workers.thaw(place)
    return f"frozen for {FROZEN_S:g} s"
