"""No faster than what comes behind: waiting until there is room."""

import asyncio
from collections.abc import Awaitable, Callable
from typing import Final

from cli.console import note

POLL_S: Final = 0.5
# What is said once it has waited so long: perhaps no worker runs.
PATIENCE_S: Final = 10.0


async def room(waiting: Callable[[], Awaitable[int]], limit: int, hint: str) -> None:
    """Return once no more than `limit` wait; `hint` follows their number on the terminal where that takes long."""
    loop = asyncio.get_running_loop()
    speaks_at_s = loop.time() + PATIENCE_S
    while (count := await waiting()) > limit:
        if loop.time() > speaks_at_s:
            note(f"{count:,} {hint}")
            speaks_at_s = loop.time() + PATIENCE_S
        await asyncio.sleep(POLL_S)
